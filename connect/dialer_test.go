package connect

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	netproxy "golang.org/x/net/proxy"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

func mustURL(t testing.TB, s string) *url.URL {
	u, err := url.Parse(s)
	require.NoError(t, err)
	return u
}

// parentSays is a parent proxy that answers with bytes, and then echoes. heads
// are the requests that it got.
func parentSays(t testing.TB, answer string) (at string, heads chan string) {
	heads = make(chan string, 16)
	return server(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		head, err := readHead(r, 1<<20)
		if err != nil {
			return
		}
		heads <- string(head)
		_, _ = io.WriteString(c, answer)
		_, _ = io.Copy(c, r)
	}), heads
}

func TestDialer(t *testing.T) {
	at, heads := parentSays(t, "HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\nContent-Length: 5\r\n\r\n")
	d := &Dialer{Proxy: mustURL(t, "http://alice:open%20sesame@"+at), Header: http.Header{"X-Why": {"test"}, "Host": {"evil"}, "Bad\r\nX": {"a"}}}
	c, err := d.Dial("tcp", "A.test.:443")
	require.NoError(t, err)
	require.IsType(t, &net.TCPConn{}, c, "bare, so that a relay can splice")
	require.Equal(t, "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nX-Why: test\r\nProxy-Authorization: Basic YWxpY2U6b3BlbiBzZXNhbWU=\r\n\r\n", <-heads)
	_, _ = io.WriteString(c, "hello")
	got := make([]byte, 5)
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
	require.NoError(t, c.Close())

	d.Authorize = func(_ context.Context, address string) (string, error) {
		if address != "[2606:4700::1]:8443" {
			return "", io.ErrNoProgress
		}
		return "Bearer t", nil
	}
	c, err = d.Dial("tcp", "[2606:4700::1]:8443")
	require.NoError(t, err)
	_ = c.Close()
	require.Contains(t, <-heads, "Proxy-Authorization: Bearer t\r\n")
	_, err = d.Dial("tcp", "a.test:443")
	require.ErrorIs(t, err, io.ErrNoProgress)
}

// TestDialerEarlyBytes: what the destination has sent with the parent's answer
// comes first, through a relay as well.
func TestDialerEarlyBytes(t *testing.T) {
	at, _ := parentSays(t, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\ngreeting;")
	d := &Dialer{Proxy: mustURL(t, "http://"+at)}
	c, err := d.Dial("tcp", "a.test:443")
	require.NoError(t, err)
	_, _ = io.WriteString(c, "x")
	require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "greeting;x", string(got))
	_ = c.Close()
	_, front, _ := proxyTo(t, "", func(h *Handler) { h.DialContext = d.DialContext })
	client := dialTo(t, front)
	_, _ = io.WriteString(client, request+"early;")
	require.NoError(t, client.CloseWrite())
	got, err = io.ReadAll(client)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200 Connection Established\r\n\r\ngreeting;early;", string(got))
}

// TestDialerChain: a proxy behind another one, behind TLS.
func TestDialerChain(t *testing.T) {
	leavesNoFiles(t)
	destination := server(t, echo)
	users := &access.Clients{Auth: &access.BasicAuth{Verify: func(_ context.Context, user, password string) (bool, error) { return user+password == "ab", nil }}}
	second := &Handler{Clients: users, Destinations: inside(destination)}
	s2 := httptest.NewTLSServer(second)
	t.Cleanup(s2.Close)
	first := &Handler{Clients: everybody(), Ports: []access.PortRange{{First: 1, Last: 65535}}, Destinations: inside(destination)}
	s1 := httptest.NewTLSServer(first)
	t.Cleanup(s1.Close)
	trust := s2.Client().Transport.(*http.Transport).TLSClientConfig
	u := mustURL(t, s2.URL)
	u.User = url.UserPassword("a", "b")
	d := &Dialer{Proxy: u, TLS: trust, DialParent: (&Dialer{Proxy: mustURL(t, s1.URL), TLS: s1.Client().Transport.(*http.Transport).TLSClientConfig}).DialContext}
	c, err := d.Dial("tcp", "a.test:443")
	require.NoError(t, err)
	_, _ = io.WriteString(c, "through two")
	got := make([]byte, 11)
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, "through two", string(got))
	require.Equal(t, 1, first.tunnels().Count())
	require.Equal(t, 1, second.tunnels().Count())
	_ = c.Close()
	d.TLS = nil
	_, err = d.Dial("tcp", "a.test:443")
	require.ErrorContains(t, err, "certificate", "verified by default")
	require.NoError(t, first.Shutdown(context.Background()))
	require.NoError(t, second.Shutdown(context.Background()))
}

func TestParentRefuses(t *testing.T) {
	const answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"parent\"\r\nX-Parent: 1\r\nConnection: X-Hop\r\nX-Hop: 1\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nno!\n"
	at, _ := parentSays(t, answer)
	d := &Dialer{Proxy: mustURL(t, "http://u:secret@"+at)}
	_, err := d.Dial("tcp", "a.test:443")
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 407, refused.StatusCode)
	require.Equal(t, "no!\n", string(refused.Body))
	require.Equal(t, 503, StatusOf(err))
	require.NotContains(t, err.Error(), "secret")
	_, front, _ := proxyTo(t, "", func(h *Handler) { h.DialContext = d.DialContext })
	r, resp := ask(t, dialTo(t, front), request)
	require.Equal(t, 407, resp.StatusCode)
	text, _ := io.ReadAll(io.LimitReader(r, resp.ContentLength))
	require.Equal(t, "no!\n", string(text), "passed on as it is")
	require.Equal(t, `Basic realm="parent"`, resp.Header.Get("Proxy-Authenticate"))
	require.Equal(t, "1", resp.Header.Get("X-Parent"))
	require.Equal(t, "text/html", resp.Header.Get("Content-Type"))
	require.Empty(t, resp.Header.Get("X-Hop"))

	at, _ = parentSays(t, "HTTP/1.1 403 Forbidden\r\nContent-Length: 9999999\r\n\r\n"+strings.Repeat("x", 100_000))
	_, err = (&Dialer{Proxy: mustURL(t, "http://"+at)}).Dial("tcp", "a.test:443")
	require.ErrorAs(t, err, &refused)
	require.Len(t, refused.Body, maxRefusal)
	require.True(t, refused.Truncated)
	h := &Handler{Clients: everybody(), DialContext: (&Dialer{Proxy: mustURL(t, "http://"+at)}).DialContext}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	r, resp = ask(t, dialTo(t, s.Listener.Addr().String()), request)
	require.Equal(t, 403, resp.StatusCode)
	require.Equal(t, []string{"chunked"}, resp.TransferEncoding)
	text, err = io.ReadAll(r)
	require.NoError(t, err)
	require.False(t, bytes.HasSuffix(text, []byte("0\r\n\r\n")), "nobody takes a part for the whole")
}

// TestRefusalWithoutEnd: a refusal whose body does not end, or breaks off, is
// passed on with its status by the dial timeout at the latest.
func TestRefusalWithoutEnd(t *testing.T) {
	const challenge = "Proxy-Authenticate: Basic realm=\"parent\"\r\n"
	for name, tc := range map[string]struct {
		answer string
		status int
		cut    bool // by the parent
	}{
		"until the connection closes": {"HTTP/1.1 502 Bad Gateway\r\n\r\nno", 502, false},
		"nothing of it":               {"HTTP/1.1 407 Who\r\n" + challenge + "Content-Length: 10\r\n\r\n", 407, false},
		"a part of it":                {"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nno", 403, false},
		"chunks":                      {"HTTP/1.1 407 Who\r\n" + challenge + "Transfer-Encoding: chunked\r\n\r\n2\r\nno\r\n", 407, false},
		"cut":                         {"HTTP/1.1 407 Who\r\n" + challenge + "Content-Length: 10\r\n\r\nno", 407, true},
		"cut chunks":                  {"HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nn", 502, true},
		"a false chunk":               {"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\nno", 403, false},
		"huge":                        {"HTTP/1.1 403 Forbidden\r\n\r\n" + strings.Repeat("x", 1<<20), 403, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := server(t, func(c *net.TCPConn) {
				r := bufio.NewReader(c)
				if _, err := readHead(r, 1<<20); err != nil {
					return
				}
				_, _ = io.WriteString(c, tc.answer)
				if tc.cut {
					_ = c.CloseWrite()
				}
				_, _ = io.Copy(io.Discard, r)
			})
			d := &Dialer{Proxy: mustURL(t, "http://"+parent)}
			remote, err := NewRemote("*", "http://"+parent)
			require.NoError(t, err)
			for _, dial := range []func(context.Context, string, string) (net.Conn, error){
				d.DialContext, remote.DialContext,
				(&Dialer{Proxy: d.Proxy, Timeout: time.Second}).DialContext,
			} {
				h := &Handler{Clients: everybody(), DialContext: dial, DialTimeout: time.Second}
				s := httptest.NewUnstartedServer(h)
				s.EnableHTTP2 = true
				s.StartTLS()
				t.Cleanup(s.Close)
				plain := httptest.NewServer(h)
				t.Cleanup(plain.Close)
				begun := time.Now()
				_, resp := ask(t, dialTo(t, plain.Listener.Addr().String()), request)
				require.Equal(t, tc.status, resp.StatusCode)
				require.Equal(t, tc.status == 407, resp.Header.Get("Proxy-Authenticate") != "")
				out, err := http.NewRequest("CONNECT", s.URL, nil)
				require.NoError(t, err)
				out.Host = "a.test:443"
				resp, err = s.Client().Transport.RoundTrip(out)
				require.NoError(t, err)
				require.Equal(t, 2, resp.ProtoMajor)
				require.Equal(t, tc.status, resp.StatusCode)
				_ = resp.Body.Close()
				require.Less(t, time.Since(begun), 20*time.Second) // and not by the Dialer's own 30 s
			}
		})
	}
}

func TestBadParents(t *testing.T) {
	for name, tc := range map[string]struct {
		answer string
		want   string
		status int
	}{
		"nothing":         {"", "closed the connection", 503},
		"cut":             {"HTTP/1.1 200 OK\r\nX: ", "closed the connection", 503},
		"other protocol":  {"SSH-2.0-x\r\n\r\n", "malformed", 503},
		"no status":       {"HTTP/1.1\r\n\r\n", "malformed", 503},
		"status 99":       {"HTTP/1.1 099 x\r\n\r\n", "malformed", 503},
		"switching":       {"HTTP/1.1 101 x\r\nUpgrade: y\r\n\r\n", "malformed", 503},
		"endless head":    {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 20_000), "above 65536 bytes", 503},
		"endless line":    {strings.Repeat("x", 100_000), "above 65536 bytes", 503},
		"endless interim": {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 11), "interim", 503},
	} {
		t.Run(name, func(t *testing.T) {
			at := server(t, func(c *net.TCPConn) {
				_, _ = readHead(bufio.NewReader(c), 1<<20)
				_, _ = io.WriteString(c, tc.answer)
			})
			_, err := (&Dialer{Proxy: mustURL(t, "http://"+at)}).Dial("tcp", "a.test:443")
			require.ErrorContains(t, err, tc.want)
			require.Equal(t, tc.status, StatusOf(err))
		})
	}
	for _, p := range []string{"socks5://127.0.0.1:1", "http://", "127.0.0.1:1", ""} {
		u, _ := url.Parse(p)
		_, err := (&Dialer{Proxy: u}).Dial("tcp", "a.test:443")
		require.Error(t, err, p)
	}
	_, err := (&Dialer{}).Dial("tcp", "a.test:443")
	require.Error(t, err)
	_, err = (&Dialer{Proxy: mustURL(t, "http://127.0.0.1:1")}).Dial("tcp", "no port")
	require.Equal(t, 400, StatusOf(err))
}

// TestSilentParent: time limits and contexts end the wait, and the connection.
func TestSilentParent(t *testing.T) {
	leavesNoFiles(t)
	gone := make(chan struct{}, 2)
	at := server(t, func(c *net.TCPConn) {
		_, _ = io.Copy(io.Discard, c)
		gone <- struct{}{}
	})
	d := &Dialer{Proxy: mustURL(t, "http://"+at), Timeout: 10 * time.Millisecond}
	_, err := d.Dial("tcp", "a.test:443")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, 504, StatusOf(err))
	<-gone
	d.Timeout = -1
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(time.Millisecond, cancel)
	_, err = d.DialContext(ctx, "tcp", "a.test:443")
	require.ErrorIs(t, err, context.Canceled)
	<-gone
	u := mustURL(t, "https://"+at) // silent in the handshake
	_, err = (&Dialer{Proxy: u, Timeout: 10 * time.Millisecond}).Dial("tcp", "a.test:443")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestLoopOfParents: two proxies that lead to each other.
func TestLoopOfParents(t *testing.T) {
	a, b := &Handler{Clients: everybody()}, &Handler{Clients: everybody()}
	sa, sb := httptest.NewServer(a), httptest.NewServer(b)
	t.Cleanup(sa.Close)
	t.Cleanup(sb.Close)
	a.DialContext = (&Dialer{Proxy: mustURL(t, sb.URL)}).DialContext
	b.DialContext = (&Dialer{Proxy: mustURL(t, sa.URL)}).DialContext
	_, resp := ask(t, dialTo(t, sa.Listener.Addr().String()), request)
	require.Equal(t, 508, resp.StatusCode, "the refusal comes back through both")
}

// TestRemote: a forward proxy behind another: plain requests in absolute-form,
// https through tunnels, each with credentials.
func TestRemote(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s via %s, auth %q", r.Method, r.Host, r.RequestURI, r.Header.Get("Via"), r.Header.Get("Proxy-Authorization"))
	}))
	t.Cleanup(origin.Close)
	secure := httptest.NewTLSServer(origin.Config.Handler)
	t.Cleanup(secure.Close)
	verify := func(_ context.Context, user, password string) (bool, error) { return user+password == "ab", nil }
	places := inside(secure.Listener.Addr().String())
	toSecure := places.Dial
	places.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasSuffix(address, ":80") {
			address = origin.Listener.Addr().String()
		}
		return toSecure(ctx, network, address)
	}
	outer := &proxy.Forward{ServerName: "outer.test", Clients: &access.Clients{Auth: &access.BasicAuth{Verify: verify}}, Destinations: places}
	tunnels := &Handler{DialContext: outer.DialContext}
	outer.Connect = tunnels
	so := httptest.NewServer(outer)
	t.Cleanup(so.Close)
	t.Cleanup(outer.CloseIdleConnections)

	remote, err := NewRemote("*", strings.Replace(so.URL, "//", "//a:b@", 1))
	require.NoError(t, err)
	remote.Transport.(*Transport).NewBackend = func(u *url.URL) *backend.Backend {
		config := secure.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		config.ServerName = "example.com" // what the test certificate is for
		return &backend.Backend{URL: u, TLS: config}
	}
	inner := &proxy.Forward{ServerName: "inner.test", Clients: everybody(), Remotes: []access.Remote{remote}}
	inner.Connect = &Handler{DialContext: inner.DialContext, Tunnels: &tunnel.Registry{}}
	si := httptest.NewServer(inner)
	t.Cleanup(si.Close)
	t.Cleanup(inner.CloseIdleConnections)

	at := si.Listener.Addr().String()
	get := func(target string) string {
		c := dialTo(t, at)
		_, _ = io.WriteString(c, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		b, err := io.ReadAll(c)
		require.NoError(t, err)
		return string(b)
	}
	require.Contains(t, get("http://a.test/x%2Fy?q"), `GET a.test /x%2Fy?q via 1.1 inner.test, 1.1 outer.test, auth ""`)
	require.Contains(t, get("http://a.test"), `GET a.test / via`)
	require.Contains(t, get("https://a.test/s?q"), `GET a.test /s?q via 1.1 inner.test, auth ""`, "nobody in between can read it")
	require.Contains(t, get("http://a.invalid/"), "503 Service Unavailable", "the answer of the other proxy")
	c, _ := tunnelTo(t, at)
	_ = c.Close()
	inner.CloseIdleConnections() // one of them is a tunnel
	require.NoError(t, tunnels.Shutdown(context.Background()))
	for _, bad := range []string{"socks5://x:1", "http://", "x", "%"} {
		_, err := NewRemote("*", bad)
		require.Error(t, err, bad)
	}
}

func TestFromURL(t *testing.T) {
	at, heads := parentSays(t, "HTTP/1.1 200 OK\r\n\r\n")
	for _, forward := range []netproxy.Dialer{nil, netproxy.Direct, onlyDial{}} {
		d, err := FromURL(mustURL(t, "http://"+at), forward)
		require.NoError(t, err)
		c, err := d.Dial("tcp", "a.test:443")
		require.NoError(t, err)
		_ = c.Close()
		require.Contains(t, <-heads, "CONNECT a.test:443 ")
	}
}

type onlyDial struct{}

func (onlyDial) Dial(network, address string) (net.Conn, error) { return net.Dial(network, address) }

// FuzzParentAnswer: whatever a parent says, there is a tunnel behind a head
// with a 2xx alone, at its first byte.
func FuzzParentAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.0 200 Connection established\r\nContent-Length: 3\r\n\r\nabcdef", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
		"HTTP/1.1 101 Switching\r\n\r\n", "HTTP/1.1 200 OK\n\nx", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", "\r\n\r\n", "HTTP/1.1 299 \r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		r := bufio.NewReader(bytes.NewReader(answer))
		err := readAnswer(r, 4096, func() {})
		if err != nil {
			var refused *RefusedError
			if errors.As(err, &refused) {
				require.GreaterOrEqual(t, refused.StatusCode, 300)
				w := httptest.NewRecorder()
				func() {
					defer func() { _ = recover() }() // of a truncated one
					refused.Answer(w)
				}()
			}
			return
		}
		rest, _ := io.ReadAll(r)
		head := answer[:len(answer)-len(rest)]
		require.True(t, bytes.HasSuffix(answer, rest))
		require.True(t, bytes.HasSuffix(head, []byte("\n\r\n")) || bytes.HasSuffix(head, []byte("\n\n")), "%q", head)
		require.Regexp(t, `(?s)(^|\n)HTTP/\d\.\d +2\d\d`, string(head))
	})
}
