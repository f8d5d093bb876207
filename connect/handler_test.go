package connect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
)

func TestTunnel(t *testing.T) {
	leavesNoFiles(t)
	h, at, ended := proxyTo(t, server(t, echo), nil)
	c := dialTo(t, at)
	const want = "HTTP/1.1 200 Connection Established\r\n\r\n"
	_, _ = io.WriteString(c, request)
	head := make([]byte, len(want))
	_, err := io.ReadFull(c, head)
	require.NoError(t, err)
	require.Equal(t, want, string(head), "neither length nor coding")
	require.Eventually(t, func() bool { return h.tunnels().Count() == 1 }, patience, time.Millisecond)
	_, _ = io.WriteString(c, "ping")
	require.NoError(t, c.CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "ping", string(got))
	a := ended.next(t)
	require.NoError(t, a.Err)
	require.Equal(t, "a.test:443 4 4", fmt.Sprint(a.Target, " ", a.Sent, " ", a.Received))
	require.Equal(t, c.LocalAddr().String(), a.ClientAddr)
	require.Zero(t, taken(h))
}

// TestEarlyBytes: what either side sends before the tunnel is open comes first.
func TestEarlyBytes(t *testing.T) {
	at := server(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "greeting;")
		echo(c)
	})
	_, at, _ = proxyTo(t, at, nil)
	for _, length := range []string{"", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\nContent-Length: 900\r\n"} {
		c := dialTo(t, at)
		_, err := io.WriteString(c, "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n"+length+"\r\nearly;")
		require.NoError(t, err)
		_, _ = io.WriteString(c, "late")
		require.NoError(t, c.CloseWrite())
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 200 Connection Established\r\n\r\ngreeting;early;late", string(got), "content means nothing: %q", length)
	}
}

// TestRandomStreams: every byte arrives, and each direction ends by itself.
func TestRandomStreams(t *testing.T) {
	const size = 3 << 20
	stream := func(seed uint64) []byte {
		b := make([]byte, size)
		r := rand.NewChaCha8([32]byte{byte(seed)})
		_, _ = r.Read(b)
		return b
	}
	up, down := stream(1), stream(2)
	for name, first := range map[string]string{"client ends first": "client", "destination ends first": "destination", "at once": ""} {
		t.Run(name, func(t *testing.T) {
			got := make(chan []byte, 1)
			clientDone := make(chan struct{})
			destination := server(t, func(c *net.TCPConn) {
				var wg sync.WaitGroup
				wg.Go(func() {
					b, _ := io.ReadAll(c)
					got <- b
				})
				if first == "client" {
					<-clientDone
				}
				_, _ = io.Copy(c, bytes.NewReader(down))
				_ = c.CloseWrite()
				wg.Wait()
			})
			_, at, ended := proxyTo(t, destination, nil)
			c, r := tunnelTo(t, at)
			received := make(chan []byte, 1)
			go func() {
				b, _ := io.ReadAll(r)
				received <- b
			}()
			if first == "destination" {
				require.True(t, bytes.Equal(down, <-received))
			}
			_, err := io.Copy(c, bytes.NewReader(up))
			require.NoError(t, err)
			require.NoError(t, c.CloseWrite())
			require.True(t, bytes.Equal(up, <-got))
			close(clientDone)
			if first != "destination" {
				require.True(t, bytes.Equal(down, <-received))
			}
			a := ended.next(t)
			require.NoError(t, a.Err)
			require.EqualValues(t, size, a.Sent)
			require.EqualValues(t, size, a.Received)
		})
	}
}

func TestRefusals(t *testing.T) {
	closed := dialTo(t, server(t, echo)) // a port where nobody listens
	nobody := closed.LocalAddr().String()
	var log lockedText
	silent := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: errSilent}
	}
	hangs := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for name, tc := range map[string]struct {
		target string
		change func(h *Handler)
		status int
	}{
		"no port":          {"a.test", nil, 400},
		"port 0":           {"a.test:0", nil, 400},
		"userinfo":         {"u@a.test:443", nil, 400},
		"path":             {"a.test:443/x", nil, 400},
		"query":            {"a.test:443?x", nil, 400},
		"origin-form":      {"/a.test:443", nil, 400},
		"absolute-form":    {"https://a.test:443/", nil, 400},
		"bare IPv6":        {"::1:443", nil, 400},
		"port 80":          {"a.test:80", nil, 403},
		"port 8443":        {"a.test:8443", func(h *Handler) { h.Ports = []access.PortRange{{First: 8000, Last: 8442}} }, 403},
		"443 is not named": {"a.test:443", func(h *Handler) { h.Ports = []access.PortRange{} }, 403},
		"denied host":      {"A.test.:443", func(h *Handler) { h.Destinations.DenyHosts = []string{"a.test"} }, 403},
		"no clients":       {"a.test:443", func(h *Handler) { h.Clients = nil }, 403},
		"empty clients":    {"a.test:443", func(h *Handler) { h.Clients = &access.Clients{} }, 403},
		"credentials":      {"a.test:443", func(h *Handler) { h.Clients = &access.Clients{Auth: &access.BasicAuth{Verify: nobodyKnown}} }, 407},
		"refused":          {"a.test:443", func(h *Handler) { h.Destinations = inside(nobody) }, 503},
		"unknown name":     {"a.invalid:443", nil, 503},
		"silent":           {"a.test:443", func(h *Handler) { h.Destinations.Dial = silent }, 504},
		"hangs":            {"a.test:443", func(h *Handler) { h.Destinations.Dial = hangs; h.DialTimeout = time.Millisecond }, 504},
		"hangs in DNS": {"a.test:443", func(h *Handler) {
			h.Destinations.Lookup = func(ctx context.Context, _, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() }
			h.Destinations.ConnectTimeout = time.Millisecond
		}, 504},
		"loop": {"a.test:443 HTTP/1.1\r\nVia: 1.1 x, 1.1 me.test\r\nX:", func(h *Handler) { h.ServerName = "Me.test" }, 508},
	} {
		t.Run(name, func(t *testing.T) {
			_, at, _ := proxyTo(t, server(t, echo), func(h *Handler) {
				h.Logger = slog.New(slog.NewTextHandler(&log, nil))
				if tc.change != nil {
					tc.change(h)
				}
			})
			if name == "refused" {
				_ = closed.Close()
			}
			c := dialTo(t, at)
			_, err := io.WriteString(c, "CONNECT "+tc.target+" HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
			require.NoError(t, err)
			got, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Regexp(t, fmt.Sprintf("^HTTP/1.1 %d ", tc.status), string(got))
			if tc.status == 407 {
				require.Contains(t, string(got), "Proxy-Authenticate: Basic realm=")
			}
			require.NotContains(t, string(got), "127.0.0.1", "nothing of the cause is told")
		})
	}
	require.Contains(t, log.String(), "level=ERROR msg=\"connect: no tunnel\"")
	require.Contains(t, log.String(), "level=INFO msg=\"connect: no tunnel\"")
	w := httptest.NewRecorder()
	(&Handler{}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, 405, w.Code)
	require.Equal(t, "CONNECT", w.Header().Get("Allow"))
}

func nobodyKnown(context.Context, string, string) (bool, error) { return false, nil }

// lockedText collects a log.
type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestNothingInsideByDefault: whichever way a private address is written.
func TestNothingInsideByDefault(t *testing.T) {
	_, at, _ := proxyTo(t, "", func(h *Handler) {
		h.Destinations = &access.Destinations{Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			t.Errorf("%s was dialled", address)
			return nil, errors.New("no")
		}}
	})
	for _, tc := range []struct {
		host   string
		status int
	}{
		{"127.0.0.1", 403}, {"127.1.2.3", 403}, {"10.0.0.1", 403}, {"172.16.0.1", 403}, {"192.168.0.1", 403}, {"169.254.169.254", 403}, {"100.64.0.1", 403},
		{"0.0.0.0", 403}, {"224.0.0.1", 403}, {"255.255.255.255", 403}, {"localhost", 403}, {"LOCALHOST.", 403},
		{"[::1]", 403}, {"[::]", 403}, {"[::ffff:127.0.0.1]", 403}, {"[::ffff:7f00:1]", 403}, {"[::ffff:169.254.169.254]", 403}, {"[64:ff9b::127.0.0.1]", 403},
		{"[fe80::1]", 403}, {"[fd00::1]", 403}, {"[ff02::1]", 403}, {"[2002:7f00:1::]", 403}, {"[::127.0.0.1]", 403},
		{"2130706433", 400}, {"0x7f000001", 400}, {"0x7f.1", 400}, {"0177.0.0.1", 400}, {"127.1", 400}, {"017700000001", 400}, {"1", 400}, {"127.0.0.1.", 400}, {"[127.0.0.1]", 400},
	} {
		_, resp := ask(t, dialTo(t, at), "CONNECT "+tc.host+":443 HTTP/1.1\r\nHost: x\r\n\r\n")
		require.Equal(t, tc.status, resp.StatusCode, tc.host)
	}
}

// TestNameThatMoves: what was checked is what is dialled, though the name
// resolves to the inside a moment later.
func TestNameThatMoves(t *testing.T) {
	answers := []string{"8.8.8.8", "127.0.0.1"}
	var dialled []string
	_, at, _ := proxyTo(t, "", func(h *Handler) {
		h.Destinations = &access.Destinations{
			Lookup: func(context.Context, string, string) ([]netip.Addr, error) {
				a := netip.MustParseAddr(answers[0])
				answers = answers[1:]
				return []netip.Addr{a}, nil
			},
			Dial: func(_ context.Context, _, address string) (net.Conn, error) {
				dialled = append(dialled, address)
				return nil, errors.New("no network here")
			},
		}
	})
	c := dialTo(t, at)
	_, resp := ask(t, c, request)
	require.Equal(t, 503, resp.StatusCode)
	require.Equal(t, []string{"8.8.8.8:443"}, dialled)
	_, resp = ask(t, dialTo(t, at), request)
	require.Equal(t, 403, resp.StatusCode)
	require.Len(t, dialled, 1)
}

// TestRefusalWithContent: nobody knows where the next request begins, and
// nobody waits for content that does not come.
func TestRefusalWithContent(t *testing.T) {
	_, at, _ := proxyTo(t, "", nil)
	for _, field := range []string{"Content-Length: 50", "Transfer-Encoding: chunked"} {
		c := dialTo(t, at)
		_, _ = io.WriteString(c, "CONNECT a.test:80 HTTP/1.1\r\nHost: a\r\n"+field+"\r\n\r\nGET / HTTP/1.1\r\n")
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Contains(t, string(got), "HTTP/1.1 403 ")
		require.Equal(t, 1, strings.Count(string(got), "HTTP/1.1 "))
	}
	// Without content the connection goes on.
	c := dialTo(t, at)
	r, resp := ask(t, c, "CONNECT a.test:80 HTTP/1.1\r\nHost: a\r\n\r\n")
	require.Equal(t, 403, resp.StatusCode)
	_, _ = io.Copy(io.Discard, io.LimitReader(r, resp.ContentLength))
	_, err := io.WriteString(c, "CONNECT a.test HTTP/1.1\r\nHost: a\r\n\r\n")
	require.NoError(t, err)
	again, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, 400, again.StatusCode)
}

func TestLimits(t *testing.T) {
	leavesNoFiles(t)
	h, at, ended := proxyTo(t, server(t, echo), func(h *Handler) { h.MaxTunnels = 3; h.MaxTunnelsPerClient = 2 })
	one, _ := tunnelTo(t, at)
	two, _ := tunnelTo(t, at)
	_, resp := ask(t, dialTo(t, at), request)
	require.Equal(t, 429, resp.StatusCode)
	other := func() int {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		c, err := d.Dial("tcp", at)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		_, resp := ask(t, c, request)
		return resp.StatusCode
	}
	require.Equal(t, 200, other())
	require.Equal(t, 503, other())
	_ = one.Close()
	ended.next(t)
	require.Equal(t, 200, other())
	_ = two.Close()
	ended.next(t)
	_, resp = ask(t, dialTo(t, at), strings.Replace(request, "a.test:443 ", "a.invalid:443 ", 1))
	require.Equal(t, 503, resp.StatusCode)
	tunnelTo(t, at) // the failure has given its place back
	require.Equal(t, 3, taken(h))
}

func TestUserInAccount(t *testing.T) {
	_, at, ended := proxyTo(t, server(t, echo), func(h *Handler) {
		h.Clients = &access.Clients{Auth: &access.BasicAuth{Verify: func(context.Context, string, string) (bool, error) { return true, nil }}}
	})
	c := dialTo(t, at)
	_, resp := ask(t, c, strings.Replace(request, "\r\n\r\n", "\r\nProxy-Authorization: Basic YWxpY2U6eA==\r\n\r\n", 1))
	require.Equal(t, 200, resp.StatusCode)
	_ = c.Close()
	require.Equal(t, "alice", ended.next(t).User)
}

// TestBehindForward: who was admitted there is not asked again.
func TestBehindForward(t *testing.T) {
	f := &proxy.Forward{Clients: everybody(), Destinations: inside(server(t, echo))}
	h := &Handler{DialContext: f.DialContext}
	f.Connect = h
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	c, r := tunnelTo(t, s.Listener.Addr().String())
	_, _ = io.WriteString(c, "x")
	b, err := r.ReadByte()
	require.NoError(t, err)
	require.Equal(t, byte('x'), b)
	_ = c.Close()
	require.NoError(t, h.Shutdown(context.Background()))
	_, resp := ask(t, dialTo(t, s.Listener.Addr().String()), strings.Replace(request, ":443 ", ":80 ", 1))
	require.Equal(t, 403, resp.StatusCode)
}

func TestMiddlewareFieldsAreKept(t *testing.T) {
	h := &Handler{Clients: everybody(), Destinations: inside(server(t, echo))}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "42")
		w.Header().Set("Content-Length", "7")
		w.Header().Set("X-Bad", "a\r\nb")
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	c := dialTo(t, s.Listener.Addr().String())
	_, resp := ask(t, c, request)
	require.Equal(t, http.Header{"X-Request-Id": {"42"}}, resp.Header)
	_ = c.Close()
	require.NoError(t, h.Shutdown(context.Background()))
}

func TestNoHijacker(t *testing.T) {
	h := &Handler{Clients: everybody(), Destinations: inside(server(t, echo))}
	r := httptest.NewRequest("CONNECT", "a.test:443", nil)
	r.RequestURI = "a.test:443"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, 500, w.Code)
	require.Eventually(t, func() bool { return taken(h) == 0 }, patience, time.Millisecond)
}

// TestNoCredentialsInLog: a target with credentials is refused, and logged
// without them.
func TestNoCredentialsInLog(t *testing.T) {
	var log lockedText
	_, at, _ := proxyTo(t, server(t, echo), func(h *Handler) { h.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	_, resp := ask(t, dialTo(t, at), "CONNECT user:secret@a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n")
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, log.String(), "target=a.test:443")
	require.NotContains(t, log.String(), "secret")
}
