package proxy

import (
	"bufio"
	"context"
	"errors"
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

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// closingBackend is a backend whose connections are pipes: the first serves one
// request, after which spoil has it; the others serve all. It counts those
// requests that have come to their end.
func closingBackend(t *testing.T, spoil func(far net.Conn)) (b *backend.Backend, served *[]string) {
	b = &backend.Backend{URL: &url.URL{Scheme: "http", Host: "b.test"}}
	t.Cleanup(func() { _ = b.Close() })
	served = new([]string)
	conns := 0
	b.DialContext = func(context.Context, string, string) (net.Conn, error) {
		conns++
		near, far := net.Pipe()
		first := conns == 1
		go func() {
			defer far.Close()
			in := bufio.NewReaderSize(far, 16) // that takes no more than it needs
			for {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				body, _ := io.ReadAll(r.Body)
				*served = append(*served, r.Method+" "+string(body))
				_, _ = io.WriteString(far, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				if first {
					spoil(far)
					return
				}
			}
		}()
		return near, nil
	}
	return b, served
}

// slowly is a body that takes its time.
type slowly struct{ io.Reader }

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(10 * time.Millisecond)
	return s.Reader.Read(p)
}

// TestUnwrittenIsSentAgain: a request of which nothing went over a connection that
// the backend had closed is sent again whatever its method is; one of which a byte
// was taken, only if that does no harm; none without its body.
func TestUnwrittenIsSentAgain(t *testing.T) {
	closed := func(net.Conn) {}
	taken := func(far net.Conn) { _, _ = io.ReadFull(far, make([]byte, 1)) }
	for name, tc := range map[string]struct {
		spoil  func(net.Conn)
		method string
		slow   bool // the body, so that the end is seen before anything is written
		expect bool
		bare   bool // the body cannot be had anew
		none   bool // there is no body
		again  bool
	}{
		"POST":                                 {spoil: closed, method: "POST", again: true},
		"POST with a slow body":                {spoil: closed, method: "POST", slow: true, again: true},
		"POST that waits for a 100":            {spoil: closed, method: "POST", expect: true, again: true},
		"POST without a body":                  {spoil: closed, method: "POST", none: true, again: true},
		"POST whose body cannot be had anew":   {spoil: closed, method: "POST", bare: true},
		"PATCH":                                {spoil: closed, method: "PATCH", again: true},
		"PUT":                                  {spoil: closed, method: "PUT", again: true},
		"GET with a body":                      {spoil: closed, method: "GET", again: true},
		"POST, a byte is taken":                {spoil: taken, method: "POST"},
		"POST, a byte is taken, slow body":     {spoil: taken, method: "POST", slow: true},
		"PUT, a byte is taken":                 {spoil: taken, method: "PUT", again: true},
		"PUT whose body cannot be had anew":    {spoil: closed, method: "PUT", bare: true},
		"DELETE without a body, byte is taken": {spoil: taken, method: "DELETE", none: true, again: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, served := closingBackend(t, tc.spoil)
				tr := &Transport{Backend: b}
				first, err := http.NewRequest("GET", "http://b.test/", nil)
				require.NoError(t, err)
				resp, err := tr.RoundTrip(first)
				require.NoError(t, err)
				_ = resp.Body.Close()
				synctest.Wait()

				body := func() io.ReadCloser {
					if tc.slow {
						return io.NopCloser(slowly{strings.NewReader("body")})
					}
					return io.NopCloser(strings.NewReader("body"))
				}
				r, err := http.NewRequest(tc.method, "http://b.test/", nil)
				require.NoError(t, err)
				want := tc.method + " "
				if !tc.none {
					r.Body, r.ContentLength = body(), 4
					r.GetBody = func() (io.ReadCloser, error) { return body(), nil }
					want += "body"
				}
				if tc.bare {
					r.GetBody = nil
				}
				if tc.expect {
					r.Header.Set("Expect", "100-continue")
				}
				resp, err = tr.RoundTrip(r)
				if tc.again {
					require.NoError(t, err)
					require.Equal(t, 200, resp.StatusCode)
					require.Equal(t, []string{"GET ", want}, *served)
					return
				}
				require.ErrorIs(t, err, exchange.ErrStaleConn)
				require.Equal(t, tc.bare, exchange.MayResend(err), "by somebody who has the body")
				require.Equal(t, []string{"GET "}, *served)
			})
		})
	}
}

// TestUnwrittenOfAClient: so it is with what a Handler passes on.
func TestUnwrittenOfAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, served := closingBackend(t, func(net.Conn) {})
		h := &Handler{Transport: &Transport{Backend: b}, Target: b.URL}
		for _, method := range []string{"GET", "POST"} {
			r := httptest.NewRequest(method, "http://a.test/", nil)
			if method == "POST" {
				r.Body, r.ContentLength = io.NopCloser(slowly{strings.NewReader("body")}), 4
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, http.StatusOK, w.Code)
			synctest.Wait()
		}
		require.Equal(t, []string{"GET ", "POST body"}, *served)
	})
}

// TestUnwrittenToANewConnection: a fresh connection that takes nothing is no
// reason to try again here, but somebody else may.
func TestUnwrittenToANewConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend.Backend{URL: &url.URL{Scheme: "http", Host: "b.test"}}
		defer b.Close()
		dials := 0
		b.DialContext = func(context.Context, string, string) (net.Conn, error) {
			dials++
			near, far := net.Pipe()
			t.Cleanup(func() { _ = far.Close() })
			return deaf{near}, nil
		}
		r, err := http.NewRequest("POST", "http://b.test/", strings.NewReader("body"))
		require.NoError(t, err)
		_, err = (&Transport{Backend: b}).RoundTrip(r)
		require.Error(t, err)
		require.True(t, exchange.MayResend(err), "%v", err)
		require.Equal(t, exchange.OpWrite, err.(*exchange.Error).Op)
		require.Equal(t, 1, dials)
	})
}

// deaf is a connection that takes nothing.
type deaf struct{ net.Conn }

func (deaf) Write([]byte) (int, error) { return 0, errors.New("not now") }
