package connect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: neither what a parent proxy answers nor what a client asks for
// costs more than its length.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	for name, fields := range map[string]func(n int) string{
		"many fields":          func(n int) string { return manyFields(n) },
		"one field":            func(n int) string { return strings.Repeat("A: b\r\n", n/6) },
		"folded lines":         func(n int) string { return "A: b\r\n" + strings.Repeat(" c\r\n", n/4) },
		"commas in Connection": func(n int) string { return "Connection: " + strings.Repeat(",", n/2) + "\r\n" + manyFields(n/2) },
		"names in Connection": func(n int) string {
			return "Connection: " + strings.Repeat("a1,b2,c3,", n/18) + "\r\n" + manyFields(n/2)
		},
	} {
		inputs["refusal, "+name] = func(n int) func() {
			answer := "HTTP/1.1 407 \r\nContent-Length: 0\r\n" + fields(n) + "\r\n"
			return func() {
				err := readAnswer(bufio.NewReader(strings.NewReader(answer)), len(answer), func() {})
				var refused *RefusedError
				require.ErrorAs(t, err, &refused)
				refused.Answer(httptest.NewRecorder())
			}
		}
		inputs["tunnel, "+name] = func(n int) func() {
			answer := "HTTP/1.1 200 \r\n" + fields(n) + "\r\n"
			return func() {
				require.NoError(t, readAnswer(bufio.NewReader(strings.NewReader(answer)), len(answer), func() {}))
			}
		}
	}
	h := &Handler{
		ServerName: "front.test", Clients: &access.Clients{Access: &access.Access{}},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusForbidden) },
		Destinations: &access.Destinations{Block: []string{"*"}},
	}
	for name, set := range map[string]func(r *http.Request, n int){
		"colons in the target": func(r *http.Request, n int) { r.RequestURI = strings.Repeat(":", n) + "443" },
		"dots in the target":   func(r *http.Request, n int) { r.RequestURI = strings.Repeat("a.", n/2) + ":443" },
		"brackets":             func(r *http.Request, n int) { r.RequestURI = strings.Repeat("[", n) + "]:443" },
	} {
		inputs["request, "+name] = func(n int) func() {
			r := httptest.NewRequest("CONNECT", "http://back.test:443", nil)
			set(r, n)
			return func() { h.ServeHTTP(httptest.NewRecorder(), r) }
		}
	}
	inputs["request, Via"] = func(n int) func() {
		open := &Handler{ServerName: "front.test", Clients: &access.Clients{Access: &access.Access{}}, DialContext: refuseToDial, ErrorHandler: h.ErrorHandler,
			Destinations: &access.Destinations{AllowPrivate: true}}
		r := httptest.NewRequest("CONNECT", "http://back.test:443", nil)
		r.RequestURI = "back.test:443"
		r.Header["Via"] = strings.Split(strings.Repeat("1.1 a ( ,\n", n/10), "\n")
		return func() { open.ServeHTTP(httptest.NewRecorder(), r) }
	}
	parsertest.Linear(t, inputs)
}

func refuseToDial(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("nowhere")
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n / 12 {
		fmt.Fprintf(&b, "X%07d:\r\n", i)
	}
	return b.String()
}
