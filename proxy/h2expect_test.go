package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/proxy/backend"
)

// TestHTTP2Expect: over HTTP/2, too, the body of a request that waits for a 100
// is asked for by the backend, and by nobody else before ExpectTimeout. The client
// speaks HTTP/1: of those of HTTP/2, net/http's server does not tell.
func TestHTTP2Expect(t *testing.T) {
	refuses := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(100 * time.Millisecond)
		w.WriteHeader(http.StatusExpectationFailed)
	})
	asks := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(100 * time.Millisecond)
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, "%d %v", n, err)
	})
	for name, tc := range map[string]struct {
		origin  http.Handler // nil: one that never sends a 100
		status  int
		answer  string
		after   time.Duration
		touched bool // the client is asked for its body
	}{
		"refused":        {refuses, 417, "", 100 * time.Millisecond, false},
		"asked for":      {asks, 200, "5 <nil>", 100 * time.Millisecond, true},
		"silent backend": {nil, 200, "", time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStallBench(t, "h2c")
				origin := newPipes()
				if tc.origin != nil {
					origin.serve(t, &http.Server{Handler: tc.origin})
				} else {
					go func() {
						if c, err := origin.Accept(); err == nil {
							neverAsks(c)
						}
					}()
				}
				b := &backend.Backend{URL: &url.URL{Scheme: "h2c", Host: "origin.test"}, DialContext: origin.dial}
				tr := &Transport{Backend: b}
				if tc.origin == nil {
					b.Timeout = 700 * time.Millisecond // less than ExpectTimeout
				}
				s.handler.Transport = tr
				cl := &http.Transport{ExpectContinueTimeout: time.Hour, DialContext: s.front.dial}
				t.Cleanup(func() {
					cl.CloseIdleConnections()
					tr.CloseIdleConnections()
					_ = b.Close()
					_ = origin.Close()
					synctest.Wait()
				})
				touched := false
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { touched = true }})
				r, err := http.NewRequestWithContext(ctx, "POST", "http://f/", strings.NewReader("hello"))
				require.NoError(t, err)
				r.Header.Set("Expect", "100-continue")
				begun := time.Now()
				resp, err := (&http.Client{Transport: cl}).Do(r)
				require.NoError(t, err)
				require.Equal(t, tc.answer, body(t, resp))
				require.Equal(t, tc.status, resp.StatusCode)
				require.Equal(t, tc.touched, touched)
				require.Equal(t, tc.after, time.Since(begun).Round(100*time.Millisecond))
			})
		})
	}
}

// neverAsks is an HTTP/2 backend that answers when it has the body.
func neverAsks(c net.Conn) {
	defer c.Close()
	_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
	fr := http2.NewFramer(c, bufio.NewReader(c))
	_ = fr.WriteSettings()
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		if d, ok := f.(*http2.DataFrame); ok && d.StreamEnded() {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: d.StreamID, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true})
		}
	}
}
