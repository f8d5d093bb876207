package apache

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/parsertest"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// costlySite has the directives that look at what a client or a backend sends.
// Its expressions are too long for the quicker of package regexp's engines, which
// is for short text alone.
const costlySite = `
Listen 80
ServerName front.test
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy 0.0.0.0/0
AllowEncodedSlashes On
SetEnvIf X-A "^(a*)*$|q{60}" hit=$1
SetEnvIf X-A "(a|b)*c(a|b)+d|q{60}" hit=none
SetEnvIf Request_URI "(/.*)$|q{60}" uri=$0
RequestHeader edit* X-A "a|q{60}" "&b"
RequestHeader edit X-A "(a*)(b*)$|q{60}" "$1"
RequestHeader merge X-B c
RequestHeader append X-B "%{uri}e"
Header edit* X-C "a,?|q{60}" "b"
Header merge X-C d
Header always set X-D "%{hit}e"
LogFormat "%h %r %q %U %{X-A}i %{X-C}o %{a}C %v" all
CustomLog /dev/stdout all
<VirtualHost *:80>
ServerName one.test
ServerAlias *a*b.test *?c.test
</VirtualHost>
<Location /d>
Require all denied
</Location>
<LocationMatch "(/a)+/d$|q{60}">
Require all denied
</LocationMatch>
<Files *.d?>
Require all denied
</Files>
ProxyPass /s/ BACKEND mapping=servlet
ProxyPass /e !
ProxyPassMatch "^/(a/)*m/(.*)$|q{60}" BACKEND$2
ProxyPass / BACKEND responsefieldsize=200000 retry=0
ProxyPassReverse / BACKEND
ProxyPassReverseCookieDomain back.test front.test
ProxyPassReverseCookiePath /b/ /
`

// TestCost: nothing that a client or a backend sends costs more than its
// length, whatever a configuration does with it.
func TestCost(t *testing.T) {
	var answer func(h http.Header)
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w.Header()) }))
	defer back.Close()
	b, warnings, err := read(strings.ReplaceAll(costlySite, "BACKEND", back.URL+"/"))
	require.NoError(t, err)
	require.Empty(t, warnings)
	st, err := newGeneration(b, &logFiles{stdout: io.Discard, stderr: io.Discard}, new(tunnel.Registry), nil)
	require.NoError(t, err)
	defer st.close()
	inputs := make(map[string]parsertest.Input)
	serve := func(name string, set func(r *http.Request, n int), head func(h http.Header, n int)) {
		inputs[name] = func(n int) func() {
			r := httptest.NewRequest("GET", "http://front.test/", nil)
			set(r, n)
			return func() {
				answer = func(h http.Header) { head(h, n) }
				r := r.WithContext(context.WithValue(r.Context(), visitKey{}, &visit{site: st}))
				st.host("80", r).serve.ServeHTTP(httptest.NewRecorder(), r)
			}
		}
	}
	nothing := func(http.Header, int) {}
	for name, text := range map[string]string{
		"slashes": "/", "dots": "/.", "dots and names": "/a/..", "segments": "/a", "files": "/a.d", "parameters": "/;a", "escaped slashes": "/%2Fa", "escapes": "/%41",
	} {
		for _, under := range []string{"/", "/s/", "/a/m"} {
			serve("path of "+name+" under "+under, func(r *http.Request, n int) {
				raw := under + strings.Repeat(text, n/len(text))
				r.URL.RawPath = raw
				r.URL.Path = strings.NewReplacer("%2F", "/", "%41", "A").Replace(raw)
			}, nothing)
		}
	}
	for name, field := range map[string][2]string{
		"a field of what is edited": {"X-A", "a"}, "a field of what is looked for": {"X-A", "ab"}, "a list that is merged": {"X-B", "a ,"}, "commas that are merged": {"X-B", ","},
		"addresses": {"X-Forwarded-For", "10.0.0.1,"}, "cookies": {"Cookie", "a=b;"},
	} {
		serve(name, func(r *http.Request, n int) { r.Header.Set(field[0], strings.Repeat(field[1], n/len(field[1]))) }, nothing)
	}
	serve("a host", func(r *http.Request, n int) { r.Host = strings.Repeat("ab", n/2) }, nothing)
	serve("a query", func(r *http.Request, n int) { r.URL.RawQuery = strings.Repeat("%\"&", n/3) }, nothing)
	for name, field := range map[string][2]string{
		"answer with what is edited": {"X-C", "a,"}, "answer with a Location": {"Location", "/b"}, "answer with a cookie": {"Set-Cookie", ";path=/b/"},
	} {
		serve(name, func(*http.Request, int) {}, func(h http.Header, n int) { h.Set(field[0], strings.Repeat(field[1], n/len(field[1]))) })
	}
	parsertest.Linear(t, inputs)
}
