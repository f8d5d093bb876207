package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	childfcgi "net/http/fcgi"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/ftpproxy"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
)

// world is a server that answers for every host, over connections in memory.
type world struct {
	conns  chan net.Conn
	closed chan struct{}
	open   atomic.Int64 // connections
	most   atomic.Int64
	dialed map[string]int // by address; dials do not overlap
}

func newWorld(t *testing.T, serve func(l net.Listener) error) *world {
	w := &world{conns: make(chan net.Conn), closed: make(chan struct{}), dialed: make(map[string]int)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = serve(w)
	}()
	t.Cleanup(func() {
		_ = w.Close()
		<-done
	})
	return w
}

func (w *world) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *world) Close() error {
	select {
	case <-w.closed:
	default:
		close(w.closed)
	}
	return nil
}

func (w *world) Addr() net.Addr { return &net.TCPAddr{} }

func (w *world) dial(_ context.Context, _, address string) (net.Conn, error) {
	here, there := net.Pipe()
	w.dialed[address]++
	w.most.Store(max(w.most.Load(), w.open.Add(1)))
	w.conns <- there
	return &worldConn{Conn: here, w: w}, nil
}

type worldConn struct {
	net.Conn
	w    *world
	gone atomic.Bool
}

func (c *worldConn) Close() error {
	if c.gone.CompareAndSwap(false, true) {
		c.w.open.Add(-1)
	}
	return c.Conn.Close()
}

func answering(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, "ok")
}

func serveHTTP(l net.Listener) error {
	s := &http.Server{Handler: http.HandlerFunc(answering), Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return s.Serve(l)
}

// serveFTP has nothing for anybody.
func serveFTP(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_, _ = io.WriteString(c, "220 hello\r\n")
			lines := bufio.NewScanner(c)
			for lines.Scan() {
				reply := "550 no"
				switch word, _, _ := strings.Cut(lines.Text(), " "); word {
				case "USER":
					reply = "230 in"
				case "PWD":
					reply = "257 \"/\" is here"
				case "TYPE":
					reply = "200 ok"
				}
				_, _ = io.WriteString(c, reply+"\r\n")
			}
		}()
	}
}

type (
	maker  = func(u *url.URL) *backend.Backend
	dialer = func(ctx context.Context, network, address string) (net.Conn, error)
)

// manyOrigins are all that keep connections to hosts that clients name.
var manyOrigins = map[string]struct {
	scheme string
	serve  func(l net.Listener) error
	start  func(maker, dialer) http.RoundTripper
}{
	"proxy.Transport": {"http", serveHTTP, func(m maker, _ dialer) http.RoundTripper {
		return &proxy.Transport{NewBackend: m}
	}},
	"proxy.Transport, h2c": {"h2c", serveHTTP, func(m maker, _ dialer) http.RoundTripper {
		return &proxy.Transport{NewBackend: m}
	}},
	"fcgi.Transport": {"fcgi", func(l net.Listener) error { return childfcgi.Serve(l, http.HandlerFunc(answering)) }, func(m maker, _ dialer) http.RoundTripper {
		return &fcgi.Transport{NewBackend: m}
	}},
	"ajp.Transport": {"ajp", func(l net.Listener) error {
		return (&ajp.Server{Secret: "s", Handler: http.HandlerFunc(answering)}).Serve(l)
	}, func(m maker, _ dialer) http.RoundTripper {
		return &ajp.Transport{Secret: "s", NewBackend: m}
	}},
	"ftpproxy.Transport": {"ftp", serveFTP, func(m maker, _ dialer) http.RoundTripper {
		return &ftpproxy.Transport{NewBackend: m}
	}},
	"Forward": {"http", serveHTTP, func(_ maker, dial dialer) http.RoundTripper {
		return forwarding{&proxy.Forward{Clients: &access.Clients{Access: &access.Access{}}, Destinations: &access.Destinations{AllowPrivate: true, Dial: dial}}}
	}},
	"Forward with a Remote": {"http", serveHTTP, func(_ maker, dial dialer) http.RoundTripper {
		return forwarding{&proxy.Forward{Clients: &access.Clients{Access: &access.Access{}}, Destinations: &access.Destinations{AllowPrivate: true}, Remotes: []access.Remote{{Match: "*", DialContext: dial}}}}
	}},
	"Forward with a parent": {"http", serveHTTP, func(_ maker, dial dialer) http.RoundTripper {
		d := &connect.Dialer{Proxy: &url.URL{Scheme: "http", Host: "parent:80"}, DialParent: dial}
		return forwarding{&proxy.Forward{Clients: &access.Clients{Access: &access.Access{}}, Destinations: &access.Destinations{AllowPrivate: true}, Remotes: []access.Remote{{Match: "*", Transport: &connect.Transport{Dialer: d}}}}}
	}},
}

// forwarding is a Forward as a RoundTripper.
type forwarding struct{ f *proxy.Forward }

func (f forwarding) RoundTrip(r *http.Request) (*http.Response, error) {
	in := httptest.NewRequest(r.Method, r.URL.String(), nil)
	w := httptest.NewRecorder()
	f.f.ServeHTTP(w, in.WithContext(r.Context()))
	return w.Result(), nil
}

func (f forwarding) CloseIdleConnections() { f.f.CloseIdleConnections() }

func hostOf(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }

// TestManyOrigins has a client that names 2000 hosts.
func TestManyOrigins(t *testing.T) {
	const hosts = 2000
	for name, kind := range manyOrigins {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, kind.serve)
				tr := kind.start(func(u *url.URL) *backend.Backend { return &backend.Backend{URL: u, DialContext: w.dial} }, w.dial)
				defer tr.(interface{ CloseIdleConnections() }).CloseIdleConnections()
				ask := func(host string) {
					r, err := http.NewRequestWithContext(t.Context(), "GET", kind.scheme+"://"+host+"/x", nil)
					require.NoError(t, err)
					resp, err := tr.RoundTrip(r)
					require.NoError(t, err)
					_, err = io.Copy(io.Discard, resp.Body)
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					require.Less(t, resp.StatusCode, 500)
				}
				stats := func() (n int) {
					if s, ok := tr.(interface{ Stats() []backend.Stats }); ok {
						n = len(s.Stats())
					}
					return n
				}
				backends := 0
				for i := range hosts {
					ask(hostOf(i))
					if i%100 == 0 {
						ask("10.255.255.255")
						backends = max(backends, stats())
					}
				}
				synctest.Wait()
				require.LessOrEqual(t, w.open.Load(), int64(backend.DefaultIdleLimit))
				require.LessOrEqual(t, w.most.Load(), int64(backend.DefaultIdleLimit+2))
				require.LessOrEqual(t, backends, 2*backend.DefaultIdleLimit)
				for at, n := range w.dialed {
					require.Equal(t, 1, n, at) // one that is used now and then is not the longest unused
				}
				if name != "Forward with a parent" {
					before := len(w.dialed)
					ask(hostOf(hosts - 1))
					require.Len(t, w.dialed, before)
					ask(hostOf(0))
					require.Contains(t, fmt.Sprint(w.dialed), hostOf(0)+":")
				}
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				require.Zero(t, w.open.Load(), "their time is over")
				for i := range hosts / 2 {
					ask(hostOf(i % 3))
				}
				require.LessOrEqual(t, stats(), 256)
			})
		})
	}
}
