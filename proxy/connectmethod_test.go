package proxy

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestConnectHead: the target of CONNECT is the authority alone, and what is sent
// after its head, and after that of the answer, has no framing.
func TestConnectHead(t *testing.T) {
	for name, tc := range map[string]struct {
		url    url.URL
		host   string
		length int64
		target string
	}{
		"host":              {url.URL{}, "origin.test:443", -1, "origin.test:443"},
		"length not told":   {url.URL{}, "origin.test:443", 0, "origin.test:443"},
		"path":              {url.URL{Path: "/x"}, "origin.test:443", -1, "/x"},
		"opaque":            {url.URL{Opaque: "other.test:1"}, "origin.test:443", -1, "other.test:1"},
		"host of the URL":   {url.URL{}, "", -1, ""},
		"IPv6":              {url.URL{}, "[::1]:443", -1, "[::1]:443"},
		"a length is known": {url.URL{}, "origin.test:443", 4, "origin.test:443"},
	} {
		t.Run(name, func(t *testing.T) {
			heads := make(chan string, 1)
			o := newOrigin(t, func(c *originConn, _ int) {
				head, _ := c.head()
				heads <- head
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n") // which means nothing here
				_, _ = io.CopyN(c, c.r, 4)
			})
			pr, pw := io.Pipe()
			defer pw.Close()
			tr := &Transport{Backend: testBackend(t, o.url()), Spool: &exchange.Spool{}}
			u := tc.url
			u.Scheme, u.Host = "http", o.url().Host
			r := &http.Request{Method: http.MethodConnect, URL: &u, Host: tc.host, Header: http.Header{}, Body: pr, ContentLength: tc.length}
			go func() { _, _ = io.WriteString(pw, "ping") }()
			resp, err := tr.RoundTrip(r)
			require.NoError(t, err)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, "ping", string(got))
			require.NoError(t, resp.Body.Close())
			line, fields, _ := strings.Cut(<-heads, "\r\n")
			want := tc.target
			if want == "" {
				want = u.Host
			}
			require.Equal(t, "CONNECT "+want+" HTTP/1.1", line)
			require.NotContains(t, fields, "Transfer-Encoding")
			require.Equal(t, tc.length > 0, strings.Contains(fields, "Content-Length: 4\r\n"))
			require.Zero(t, tr.Backend.Stats().Idle, "what follows may be of the tunnel")
		})
	}
}

// TestConnectConversation: what is sent and what comes back take turns, over
// each protocol.
func TestConnectConversation(t *testing.T) {
	for _, protocol := range []string{"http", "h2c", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			u, b := protocols[protocol](t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodConnect || r.Host != "origin.test:443" {
					w.WriteHeader(http.StatusTeapot)
					return
				}
				var from io.Reader = r.Body
				var to io.Writer = w
				if hj, ok := w.(http.Hijacker); ok {
					c, rw, err := hj.Hijack()
					if err != nil {
						return
					}
					defer c.Close()
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
					from, to = rw, c
				} else {
					_ = http.NewResponseController(w).Flush()
				}
				p := make([]byte, 1)
				for {
					if _, err := io.ReadFull(from, p); err != nil {
						return
					}
					_, _ = to.Write(p)
					if to == w {
						_ = http.NewResponseController(w).Flush()
					}
				}
			}))
			tr := &Transport{Backend: b}
			t.Cleanup(tr.CloseIdleConnections)
			pr, pw := io.Pipe()
			defer pw.Close()
			resp, err := tr.RoundTrip(&http.Request{Method: http.MethodConnect, URL: u, Host: "origin.test:443", Header: http.Header{}, Body: pr, ContentLength: -1})
			require.NoError(t, err)
			defer resp.Body.Close()
			require.Equal(t, http.StatusOK, resp.StatusCode)
			for _, c := range []byte("talk") {
				_, err := pw.Write([]byte{c})
				require.NoError(t, err)
				p := make([]byte, 1)
				_, err = io.ReadFull(resp.Body, p)
				require.NoError(t, err)
				require.Equal(t, c, p[0])
			}
		})
	}
}

// TestConnectUnanswered: that the client sends nothing is no reason to wait for
// an answer to CONNECT for ever.
func TestConnectUnanswered(t *testing.T) {
	for _, protocol := range []string{"http", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			release := make(chan struct{})
			u, b := protocols[protocol](t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
			defer close(release)
			b.Timeout = 50 * time.Millisecond
			tr := &Transport{Backend: b}
			t.Cleanup(tr.CloseIdleConnections)
			pr, pw := io.Pipe()
			defer pw.Close()
			_, err := tr.RoundTrip(&http.Request{Method: http.MethodConnect, URL: u, Host: "origin.test:443", Header: http.Header{}, Body: pr, ContentLength: -1})
			require.Error(t, err)
			require.True(t, os.IsTimeout(err), "%v", err)
		})
	}
}

// refusingConnect answers each CONNECT with 403 and a body.
const refusingConnect = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"

// TestConnectRefused: the answer is an ordinary one, and without a body of the
// request the connection is used again.
func TestConnectRefused(t *testing.T) {
	o := answering(t, refusingConnect)
	tr := &Transport{Backend: testBackend(t, o.url())}
	for _, again := range []bool{true, false} {
		r := &http.Request{Method: http.MethodConnect, URL: o.url(), Host: "origin.test:443", Header: http.Header{}}
		if !again {
			r.Body = io.NopCloser(strings.NewReader(""))
		}
		resp, err := tr.RoundTrip(r)
		require.NoError(t, err)
		require.Equal(t, "no", body(t, resp))
		require.Equal(t, again, tr.Backend.Stats().Idle == 1)
	}
}
