package uwsgi

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/fcgi/internal/cgi"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

// FuzzHead reads any bytes as the head of an answer.
func FuzzHead(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n", "HTTP/1.0 200\nA: b\n\n", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
		"HTTP/1.1 99\n\n", "HTTP/1.1 200 \x00\n\n", "HTTP/1.x 200\n\n", "\n\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, head string) {
		var resp http.Response
		if err := parseHead(head, &resp); err != nil {
			require.ErrorIs(t, err, exchange.ErrMalformed)
			return
		}
		require.GreaterOrEqual(t, resp.StatusCode, 100)
		require.LessOrEqual(t, resp.StatusCode, 999)
		require.NotContains(t, resp.Header, "Transfer-Encoding")
		require.False(t, strings.ContainsAny(resp.Status, "\r\n\x00"))
	})
}

// FuzzRequest sends any variables; the application gets them as they are.
func FuzzRequest(f *testing.F) {
	f.Add("A", "b", "LONG", strings.Repeat("x", 300))
	f.Add("", "", "A", "\x00")
	f.Fuzz(func(t *testing.T, name, value, other, more string) {
		var p cgi.Params
		p.Set(name, value)
		p.Set(other, more)
		b, err := appendRequest(nil, &p, 0)
		if err != nil {
			require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, exchange.StatusOf(err))
			require.Greater(t, len(name)+len(value)+len(other)+len(more), maxVariables-8)
			return
		}
		r := bytes.NewReader(b)
		env, err := readVariables(r)
		require.NoError(t, err)
		require.Zero(t, r.Len())
		want := map[string]string{name: value}
		want[other] = more
		require.Equal(t, want, env)
	})
}

// TestCost: no head costs more than its length.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	for name, text := range map[string]string{"fields": "A%: b\r\n", "folded": " c\r\n", "lines": "\n", "returns": "\r", "one field": "A:\n", "blanks": " "} {
		inputs["head, "+name] = func(n int) func() {
			head := "HTTP/1.1 200 OK\r\nA: b\r\n" + strings.Repeat(text, n/len(text)) + "\r\n"
			return func() { _ = parseHead(head, new(http.Response)) }
		}
		inputs["status line, "+name] = func(n int) func() {
			head := "HTTP/1.1 200 " + strings.Repeat(text, n/len(text)) + "\r\n"
			return func() { _ = parseHead(head, new(http.Response)) }
		}
	}
	parsertest.Linear(t, inputs)
}
