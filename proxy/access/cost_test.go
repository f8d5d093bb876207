package access

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: nothing that a client sends costs more than its length.
func TestCost(t *testing.T) {
	var lines strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&lines, "user%d:$apr1$salt$%s\n", i, strings.Repeat(".", 22))
	}
	users, err := ReadHtpasswd(strings.NewReader(lines.String()))
	require.NoError(t, err)
	everybody := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	inner := http.NotFoundHandler()
	list := (&RemoteIP{TrustedProxies: everybody}).Wrap(inner)
	forwarded := (&RemoteIP{Header: "Forwarded", TrustedProxies: everybody}).Wrap(inner)
	field := func(name, text string) func(r *http.Request, n int) {
		return func(r *http.Request, n int) { r.Header[name] = []string{strings.Repeat(text, n/len(text))} }
	}
	inputs := make(map[string]parsertest.Input)
	for name, in := range map[string]struct {
		set     func(r *http.Request, n int)
		through http.Handler
	}{
		"RemoteIP, addresses": {func(r *http.Request, n int) {
			r.Header["X-Forwarded-For"] = strings.Split(strings.Repeat("10.0.0.1,\n", n/10), "\n")
		}, list},
		"RemoteIP, commas": {field("X-Forwarded-For", ","), list},
		"RemoteIP, quotes": {field("Forwarded", `"\\\"`), forwarded},
		"RemoteIP, pairs":  {field("Forwarded", "a=b;"), forwarded},
		"credentials": {func(r *http.Request, n int) {
			// Shorter than what is refused unread.
			r.Header["Authorization"] = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a:", n/128)))}
		}, (&BasicAuth{Verify: users.Verify}).Wrap(inner)},
		"address of the client": {func(r *http.Request, n int) { r.RemoteAddr = strings.Repeat("[1:", n/3) }, (&Access{}).Wrap(inner)},
	} {
		inputs[name] = func(n int) func() {
			r := httptest.NewRequest("GET", "/", nil)
			in.set(r, n)
			return func() { in.through.ServeHTTP(httptest.NewRecorder(), r) }
		}
	}
	for name, text := range map[string]string{"dots": "a.", "colons": ":", "brackets": "["} {
		inputs["authority of "+name] = func(n int) func() {
			s := strings.Repeat(text, n/len(text)) + ":443"
			return func() { _, _, _ = ParseAuthority(s) }
		}
	}
	parsertest.Linear(t, inputs)
}
