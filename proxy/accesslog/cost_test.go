package accesslog

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: no line costs more than what the client has sent.
func TestCost(t *testing.T) {
	l, err := New(io.Discard, `%h %u %r %q %U %v %{Cookie}i %{X-A}i %{a}C %{X-A}o %p %I %O %{X-A}^to`)
	require.NoError(t, err)
	h := l.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-A"], w.Header()["Trailer"] = r.Header["X-A"], r.Header["Trailer"]
	}))
	parsertest.Linear(t, map[string]parsertest.Input{"request": func(n int) func() {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Cookie"] = []string{strings.Repeat(`a="\`+"\x01"+`;`, n/24)}
		r.Header["Trailer"] = []string{strings.Repeat(", ", n/8)}
		r.Header["X-A"] = []string{strings.Repeat(`"\`+"\x01", n/12)}
		r.URL.RawQuery = strings.Repeat("\"%", n/4)
		r.RequestURI = "http://" + strings.Repeat("@:", n/4)
		return func() { h.ServeHTTP(httptest.NewRecorder(), r) }
	}})
}

// FuzzFormat: a format that is read writes one line for each request, whatever
// that holds.
func FuzzFormat(f *testing.F) {
	for _, format := range []string{CommonLogFormat, CombinedLogFormat, "%{x", `%>s %{a}C %{b}i %{%d/%b/%Y:%H:%M:%S}t`, "%!200,304{Referer}i", "%{us}T%D", "%{%-d%_d%^a%}t%^FB%{T}^to%S"} {
		f.Add(format, "a=\"b\nc\"", "/a?b")
	}
	f.Fuzz(func(t *testing.T, format, value, target string) {
		var out strings.Builder
		l, err := New(&out, format)
		if err != nil {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RequestURI, r.URL.RawQuery, r.RemoteAddr = target, value, value
		r.Header = http.Header{"Cookie": {value}, "B": {value}, "Referer": {value}}
		l.Wrap(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
		if !strings.ContainsAny(format, "\r\n\\") {
			require.Equal(t, 1, strings.Count(out.String(), "\n"), "%q", out.String())
			require.True(t, strings.HasSuffix(out.String(), "\n"))
		}
	})
}
