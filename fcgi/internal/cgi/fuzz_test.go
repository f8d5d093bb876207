package cgi

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// FuzzHead reads any bytes as the header of an answer, in any two pieces.
func FuzzHead(f *testing.F) {
	for _, s := range []string{
		"Status: 404 Not Found\r\nContent-Type: text/html\r\n\r\nbody", "Location: /x\n\n", "\r\n", "A: b\r\r\n\r\n",
		"Status: 99\n\n", "X-A: b\r\n folded\r\n\r\n", "A: \x00\n\n", "Status: 200 OK\nStatus: 200 OK\n\n",
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		whole := HeadScanner{Line: 100, Total: 1000}
		n, done, err := whole.Scan(data)
		require.LessOrEqual(t, n, len(data))
		if cut >= 0 && cut <= len(data) {
			pieces := HeadScanner{Line: 100, Total: 1000}
			n2, done2, err2 := pieces.Scan(data[:cut])
			if !done2 && err2 == nil {
				var more int
				more, done2, err2 = pieces.Scan(data[cut:])
				n2 += more
			}
			require.Equal(t, n, n2)
			require.Equal(t, done, done2)
			require.Equal(t, err == nil, err2 == nil)
		}
		if err != nil {
			require.ErrorIs(t, err, exchange.ErrMalformed)
			return
		}
		if !done {
			return
		}
		var resp http.Response
		if err := ParseHead(string(data[:n]), &resp); err != nil {
			require.ErrorIs(t, err, exchange.ErrMalformed)
			return
		}
		require.GreaterOrEqual(t, resp.StatusCode, 200)
		require.LessOrEqual(t, resp.StatusCode, 999)
		require.NotContains(t, resp.Header, "Status")
	})
}
