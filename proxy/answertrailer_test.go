package proxy_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// scripted is the backend of u, which does with each connection what it is told
// once a request has come.
func scripted(t *testing.T, address string, does script) *backend.Backend {
	u, err := url.Parse(address)
	require.NoError(t, err)
	return &backend.Backend{URL: u, Timeout: limit, DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			p := &peer{Conn: far, t: t, r: bufio.NewReader(far)}
			if u.Scheme == "h2c" || readsHead(p) {
				does(p)
			}
		}()
		return near, nil
	}}
}

// literal is a field of HTTP/2, spelled out.
func literal(name, value string) string {
	return "\x00" + string(rune(len(name))) + name + string(rune(len(value))) + value
}

// TestAnswerTrailer: the fields behind the body of an answer come as they were
// sent, but for those that must not stand there; what is none ends the body by an
// error.
func TestAnswerTrailer(t *testing.T) {
	http1 := func(announced, trailer string) script {
		return says("HTTP/1.1 200 OK\r\n" + announced + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + trailer)
	}
	http2Trailer := func(fields ...string) script {
		const last = http2.FlagHeadersEndHeaders | http2.FlagHeadersEndStream
		return begins(says(frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, ok200) +
			frame(http2.FrameData, 0, 1, "abc") + frame(http2.FrameHeaders, last, 1, strings.Join(fields, ""))))
	}
	for name, tc := range map[string]struct {
		url       string
		does      script
		announced []string
		trailer   http.Header // nil: it is refused
	}{
		"none":                      {"http://b.test", http1("", "\r\n"), nil, http.Header{}},
		"announced":                 {"http://b.test", http1("Trailer: A, b\r\n", "A: 1\r\n\r\n"), []string{"A", "B"}, http.Header{"A": {"1"}, "B": nil}},
		"not announced":             {"http://b.test", http1("", "A: 1\r\nA: 2\r\n\r\n"), nil, http.Header{"A": {"1", "2"}}},
		"forbidden ones":            {"http://b.test", http1("Trailer: Host, Content-Length, A\r\n", "Content-Length: 9\r\nHost: x\r\nTransfer-Encoding: gzip\r\nA: 1\r\n\r\n"), []string{"A"}, http.Header{"A": {"1"}}},
		"line without a colon":      {"http://b.test", http1("", "A\r\n\r\n"), nil, nil},
		"name with a blank":         {"http://b.test", http1("", "A b: 1\r\n\r\n"), nil, nil},
		"blank before the colon":    {"http://b.test", http1("", "A : 1\r\n\r\n"), nil, nil},
		"no name":                   {"http://b.test", http1("", ": 1\r\n\r\n"), nil, nil},
		"folded at the begin":       {"http://b.test", http1("", " A: 1\r\n\r\n"), nil, nil},
		"value with a NUL":          {"http://b.test", http1("", "A: \x00\r\n\r\n"), nil, nil},
		"value with a CR":           {"http://b.test", http1("", "A: 1\rB: 2\r\n\r\n"), nil, nil},
		"forbidden, malformed":      {"http://b.test", http1("", "Host: \x01\r\n\r\n"), nil, nil},
		"cut":                       {"http://b.test", after("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: 1\r\n", func(*peer) {}), nil, nil},
		"HTTP/2":                    {"h2c://b.test", http2Trailer(literal("a", "1")), nil, http.Header{"A": {"1"}}},
		"HTTP/2, forbidden ones":    {"h2c://b.test", http2Trailer(literal("content-length", "9"), literal("host", "x"), literal("a", "1")), nil, http.Header{"A": {"1"}}},
		"HTTP/2, name in capitals":  {"h2c://b.test", http2Trailer(literal("A", "1")), nil, nil},
		"HTTP/2, value with a NUL":  {"h2c://b.test", http2Trailer(literal("a", "\x00")), nil, nil},
		"HTTP/2, of another status": {"h2c://b.test", http2Trailer(literal(":status", "500")), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := scripted(t, tc.url, tc.does)
				tr := &proxy.Transport{Backend: b}
				defer time.Sleep(10 * limit)
				defer b.Close()
				defer tr.CloseIdleConnections()
				r, err := http.NewRequest(http.MethodGet, tc.url, nil)
				require.NoError(t, err)
				resp, err := tr.RoundTrip(r)
				require.NoError(t, err)
				require.NotContains(t, resp.Header, "Trailer")
				require.Len(t, resp.Trailer, len(tc.announced))
				for _, name := range tc.announced {
					require.Contains(t, resp.Trailer, name)
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if tc.trailer != nil {
					require.NoError(t, err)
					require.Equal(t, "abc", string(got))
					require.Len(t, resp.Trailer, len(tc.trailer))
					for name, values := range tc.trailer {
						require.Equal(t, values, resp.Trailer[name])
					}
					return
				}
				var e *exchange.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, exchange.OpBody, e.Op)
				require.Equal(t, http.StatusBadGateway, exchange.StatusOf(err), "%v", err)

				var record *exchange.Record
				tr.CloseIdleConnections() // the script answers the first request alone
				h := &proxy.Handler{Target: b.URL, Transport: tr, OnRecord: func(_ *http.Request, r *exchange.Record) { record = r }}
				require.PanicsWithValue(t, http.ErrAbortHandler, func() {
					h.ServeHTTP(&client{header: make(http.Header)}, httptest.NewRequest("GET", "http://front.test/", nil).WithContext(t.Context()))
				})
				require.True(t, record.Aborted)
			})
		})
	}
}

// TestTrailerIsKeptWithoutChunks: as in net/http, the announcement is one only
// where a trailer can come.
func TestTrailerIsKeptWithoutChunks(t *testing.T) {
	for name, tc := range map[string]struct {
		method, answer string
		header, keys   bool
	}{
		"length":        {"GET", "HTTP/1.1 200 OK\r\nTrailer: A\r\nContent-Length: 0\r\n\r\n", true, false},
		"HEAD":          {"HEAD", "HTTP/1.1 200 OK\r\nTrailer: A\r\nContent-Length: 3\r\n\r\n", true, false},
		"HEAD, chunked": {"HEAD", "HTTP/1.1 200 OK\r\nTrailer: A\r\nTransfer-Encoding: chunked\r\n\r\n", false, true},
		"304, chunked":  {"GET", "HTTP/1.1 304 Not Modified\r\nTrailer: A\r\nTransfer-Encoding: chunked\r\n\r\n", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := scripted(t, "http://b.test", says(tc.answer))
				defer time.Sleep(10 * limit)
				defer b.Close()
				r, err := http.NewRequest(tc.method, "http://b.test", nil)
				require.NoError(t, err)
				resp, err := (&proxy.Transport{Backend: b}).RoundTrip(r)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, tc.header, resp.Header["Trailer"] != nil)
				require.Equal(t, tc.keys, len(resp.Trailer) == 1)
			})
		})
	}
}
