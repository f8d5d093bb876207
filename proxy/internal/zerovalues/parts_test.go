package zerovalues

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/cache/disk"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/tiered"
	"github.com/modproxy/modproxy/connect"
	fcgiproxy "github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/breaker"
	"github.com/modproxy/modproxy/proxy/buffer"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/graceful"
	"github.com/modproxy/modproxy/proxy/halfclose"
	"github.com/modproxy/modproxy/proxy/mirror"
	"github.com/modproxy/modproxy/proxy/proxyprotocol"
	"github.com/modproxy/modproxy/proxy/tunnel"
	"github.com/modproxy/modproxy/wstunnel"
)

// size is that of each answer: more than a cache reads ahead.
const size = 600_000

// kit has origins of each protocol.
type kit struct {
	t         *testing.T
	http, h2c *httptest.Server
	fcgi, ajp net.Listener
	ws        *httptest.Server
}

// origin answers with what it is sent, or with many bytes.
func origin(w http.ResponseWriter, r *http.Request) {
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Last-Modified", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
	if len(sent) == 0 {
		sent = make([]byte, size)
	}
	_, _ = w.Write(sent)
}

func newKit(t *testing.T) *kit {
	k := &kit{t: t, http: httptest.NewServer(http.HandlerFunc(origin)), h2c: httptest.NewUnstartedServer(http.HandlerFunc(origin))}
	k.h2c.Config.Protocols = new(http.Protocols)
	k.h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	k.h2c.Start()
	up := websocket.Upgrader{}
	k.ws = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		for {
			kind, data, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, data) != nil {
				return
			}
		}
	}))
	var err error
	k.fcgi, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = fcgi.Serve(k.fcgi, http.HandlerFunc(origin)) }()
	k.ajp, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = ajp.Serve(k.ajp, http.HandlerFunc(origin)) }()
	return k
}

func (k *kit) close() {
	k.http.Close()
	k.h2c.Close()
	k.ws.Close()
	_ = k.fcgi.Close()
	_ = k.ajp.Close()
}

// ask has three exchanges over a transport: two without a body, one with one.
func (k *kit) ask(rt http.RoundTripper, aim string) error {
	for _, sent := range []string{"", strings.Repeat("x", 3000), ""} {
		ctx, cancel := context.WithTimeout(k.t.Context(), patience/2)
		defer cancel()
		method, body := http.MethodGet, io.Reader(nil)
		if sent != "" {
			method, body = http.MethodPost, strings.NewReader(sent)
		}
		r, err := http.NewRequestWithContext(ctx, method, aim, body)
		require.NoError(k.t, err)
		resp, err := rt.RoundTrip(r)
		if err != nil {
			require.NoError(k.t, ctx.Err(), "%v", err)
			return err
		}
		n, err := io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
		if resp.StatusCode != 200 {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		require.EqualValues(k.t, cmp.Or(len(sent), size), n)
	}
	return nil
}

// serve is ask of a handler.
func (k *kit) serve(h http.Handler) error {
	s := httptest.NewServer(h)
	defer s.Close()
	t := &http.Transport{}
	defer t.CloseIdleConnections()
	return k.ask(t, s.URL+"/x")
}

func (k *kit) proxied() *proxy.Handler {
	u, _ := url.Parse(k.http.URL)
	return &proxy.Handler{Target: u}
}

// with has an exchange with a handler, whose transport is closed.
func (k *kit) with(h *proxy.Handler) error {
	if h.Transport == nil {
		t := &proxy.Transport{}
		defer t.CloseIdleConnections()
		h.Transport = t
	}
	return k.serve(h)
}

// parts are who has numbers, and how it is tried.
type part struct {
	typ  reflect.Type
	runs map[string]func(*kit, any) error
}

func of[T any](run func(*kit, *T) error) part {
	return ofMany(map[string]func(*kit, *T) error{"": run})
}

func ofMany[T any](runs map[string]func(*kit, *T) error) part {
	p := part{reflect.TypeFor[T](), map[string]func(*kit, any) error{}}
	for name, run := range runs {
		p.runs[name] = func(k *kit, v any) error { return run(k, v.(*T)) }
	}
	return p
}

func (k *kit) backend(b *backend.Backend, aim string, rt http.RoundTripper) error {
	u, err := url.Parse(aim)
	require.NoError(k.t, err)
	b.URL = u
	err = k.ask(rt, aim+"/x")
	require.NoError(k.t, b.Close())
	return err
}

var parts = []part{
	ofMany(map[string]func(*kit, *backend.Backend) error{
		"http": func(k *kit, b *backend.Backend) error { return k.backend(b, k.http.URL, &proxy.Transport{Backend: b}) },
		"h2c": func(k *kit, b *backend.Backend) error {
			return k.backend(b, "h2c"+k.h2c.URL[len("http"):], &proxy.Transport{Backend: b})
		},
		"fcgi": func(k *kit, b *backend.Backend) error {
			return k.backend(b, "fcgi://"+k.fcgi.Addr().String(), &fcgiproxy.Transport{Backend: b})
		},
		"ajp": func(k *kit, b *backend.Backend) error {
			return k.backend(b, "ajp://"+k.ajp.Addr().String(), &ajp.Transport{Backend: b})
		},
	}),
	of(func(k *kit, l *backend.IdleLimit) error {
		b := &backend.Backend{}
		l.Add(b)
		return k.backend(b, k.http.URL, &proxy.Transport{Backend: b})
	}),
	ofMany(map[string]func(*kit, *proxy.Transport) error{
		"http": func(k *kit, t *proxy.Transport) error {
			t.Backend = &backend.Backend{}
			return k.backend(t.Backend, k.http.URL, t)
		},
		"expect": func(k *kit, t *proxy.Transport) error {
			t.Backend = &backend.Backend{}
			return k.backend(t.Backend, k.http.URL, expecting{t})
		},
	}),
	of(func(k *kit, t *fcgiproxy.Transport) error {
		t.Backend = &backend.Backend{}
		return k.backend(t.Backend, "fcgi://"+k.fcgi.Addr().String(), t)
	}),
	of(func(k *kit, t *ajp.Transport) error {
		t.Backend = &backend.Backend{}
		return k.backend(t.Backend, "ajp://"+k.ajp.Addr().String(), t)
	}),
	of(func(k *kit, s *ajp.Server) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(k.t, err)
		s.Handler = http.HandlerFunc(origin)
		go func() { _ = s.Serve(l) }()
		defer func() { _ = s.Close() }()
		b := &backend.Backend{}
		return k.backend(b, "ajp://"+l.Addr().String(), &ajp.Transport{Backend: b, PacketSize: s.PacketSize})
	}),
	ofMany(map[string]func(*kit, *exchange.Spool) error{
		"fcgi": func(k *kit, s *exchange.Spool) error {
			t := &fcgiproxy.Transport{Backend: &backend.Backend{}, Spool: exchange.Spool{All: true, Memory: s.Memory, Max: s.Max}}
			return k.backend(t.Backend, "fcgi://"+k.fcgi.Addr().String(), t)
		},
		"http": func(k *kit, s *exchange.Spool) error {
			s.All = true
			t := &proxy.Transport{Backend: &backend.Backend{}, Spool: s}
			return k.backend(t.Backend, k.http.URL, t)
		},
	}),
	ofMany(map[string]func(*kit, *proxy.Handler) error{
		"http":      func(k *kit, h *proxy.Handler) error { h.Target = k.proxied().Target; return k.with(h) },
		"websocket": (*kit).switched,
	}),
	of(func(k *kit, o *proxy.ErrorOverride) error {
		h := k.proxied()
		h.ErrorOverride = o
		return k.with(h)
	}),
	of(func(k *kit, f *proxy.Forward) error {
		t := &proxy.Transport{}
		defer t.CloseIdleConnections()
		f.Transports = map[string]http.RoundTripper{"http": t}
		f.Clients = &access.Clients{Access: &access.Access{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
		f.Destinations = &access.Destinations{AllowPrivate: true}
		s := httptest.NewServer(f)
		defer s.Close()
		u, _ := url.Parse(s.URL)
		c := &http.Transport{Proxy: http.ProxyURL(u)}
		defer c.CloseIdleConnections()
		return k.ask(c, k.http.URL+"/x")
	}),
	of(func(k *kit, l *proxy.ClientLimits) error {
		h := k.proxied()
		h.Client = l
		return k.with(h)
	}),
	of(func(k *kit, c *cache.Cache) error {
		c.Store = &memory.Store{}
		return k.cached(c)
	}),
	of(func(k *kit, s *memory.Store) error { return k.cached(&cache.Cache{Store: s}) }),
	of(func(k *kit, s *disk.Store) error {
		s.Root = k.t.TempDir()
		defer func() { _ = s.Close() }()
		return k.cached(&cache.Cache{Store: s})
	}),
	of(func(k *kit, s *tiered.Store) error {
		s.Front, s.Back = &memory.Store{}, &memory.Store{}
		return k.cached(&cache.Cache{Store: s})
	}),
	of(func(k *kit, t *mirror.Transport) error {
		plain := &proxy.Transport{}
		defer plain.CloseIdleConnections()
		t.Next, t.To = plain, plain
		defer func() { require.NoError(k.t, t.Shutdown(k.t.Context())) }()
		return k.ask(t, k.http.URL+"/x")
	}),
	of(func(k *kit, t *buffer.Transport) error {
		plain := &proxy.Transport{}
		defer plain.CloseIdleConnections()
		t.Next = plain
		return k.ask(t, k.http.URL+"/x")
	}),
	of(func(k *kit, t *breaker.Transport) error {
		plain := &proxy.Transport{}
		defer plain.CloseIdleConnections()
		t.Next = plain
		defer func() {
			t.Next = stubTransport{}
			for range 30 {
				_, _ = t.RoundTrip(httptest.NewRequest("GET", "http://a/", nil))
			}
		}()
		return k.ask(t, k.http.URL+"/x")
	}),
	of(func(k *kit, s *graceful.Service) error {
		ctx, cancel := context.WithCancel(k.t.Context())
		cancel()
		return s.Run(ctx)
	}),
	of(func(k *kit, l *halfclose.Listener) error {
		s := httptest.NewUnstartedServer(http.HandlerFunc(origin))
		l.Listener = s.Listener
		s.Listener = l
		s.Start()
		defer s.Close()
		b := &backend.Backend{}
		return k.backend(b, s.URL, &proxy.Transport{Backend: b})
	}),
	of(func(k *kit, l *proxyprotocol.Listener) error {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(k.t, err)
		l.Listener, l.Trusted = inner, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		s := httptest.NewUnstartedServer(http.HandlerFunc(origin))
		_ = s.Listener.Close()
		s.Listener = l
		s.Start()
		defer s.Close()
		b := &backend.Backend{ProxyProtocol: backend.ProxyProtocolV2}
		return k.backend(b, "http://"+inner.Addr().String(), &proxy.Transport{Backend: b})
	}),
	of(func(k *kit, a *access.BasicAuth) error {
		a.Verify = func(context.Context, string, string) (bool, error) { return true, nil }
		s := httptest.NewServer(a.Wrap(http.HandlerFunc(origin)))
		defer s.Close()
		t := &http.Transport{}
		defer t.CloseIdleConnections()
		return k.ask(signedIn{t}, s.URL)
	}),
	of(func(k *kit, d *access.Destinations) error {
		d.AllowPrivate = true
		t := &http.Transport{DialContext: d.DialContext}
		defer t.CloseIdleConnections()
		return k.ask(t, k.http.URL)
	}),
	of(func(k *kit, h *connect.Handler) error { return k.connected(h, &connect.Dialer{}) }),
	of(func(k *kit, d *connect.Dialer) error { return k.connected(&connect.Handler{}, d) }),
	of(func(k *kit, tn *tunnel.Tunnel) error {
		client, a := net.Pipe()
		b, echo := net.Pipe()
		go func() { _, _ = io.Copy(echo, echo); _ = echo.Close() }()
		tn.Client, tn.Backend = a, b
		var reg tunnel.Registry
		require.NoError(k.t, reg.Start(*tn))
		_, err := client.Write([]byte("hello"))
		if err == nil {
			_, err = io.ReadFull(client, make([]byte, 5))
		}
		_ = client.Close()
		require.NoError(k.t, reg.Shutdown(k.t.Context()))
		return err
	}),
	of(func(k *kit, h *wstunnel.Handler) error { return k.tunnelled(h) }),
	of(func(k *kit, m *wstunnel.Messages) error { return k.tunnelled(&wstunnel.Handler{Messages: m}) }),
}

// signedIn has an account.
type signedIn struct{ http.RoundTripper }

func (s signedIn) RoundTrip(r *http.Request) (*http.Response, error) {
	r.SetBasicAuth("u", "p")
	return s.RoundTripper.RoundTrip(r)
}

// expecting has a transport ask before it sends a body.
type expecting struct{ http.RoundTripper }

func (e expecting) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Header.Set("Expect", "100-continue")
	}
	return e.RoundTripper.RoundTrip(r)
}

// cached has exchanges through a cache: what is stored is validated.
func (k *kit) cached(c *cache.Cache) error {
	h := k.proxied()
	t := &proxy.Transport{}
	defer t.CloseIdleConnections()
	h.Transport = t
	defer c.Close()
	return k.serve(c.Wrap(h))
}

// connected has exchanges by way of CONNECT.
func (k *kit) connected(h *connect.Handler, d *connect.Dialer) error {
	h.Destinations = &access.Destinations{AllowPrivate: true}
	h.Ports = []access.PortRange{{First: 1, Last: 65535}}
	h.Clients = &access.Clients{Access: &access.Access{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	s := httptest.NewServer(h)
	defer s.Close()
	d.Proxy, _ = url.Parse(s.URL)
	t := &http.Transport{DialContext: d.DialContext}
	err := k.ask(t, k.http.URL)
	t.CloseIdleConnections()
	require.NoError(k.t, h.Shutdown(k.t.Context()))
	return err
}

// tunnelled has messages of a WebSocket passed.
func (k *kit) tunnelled(h *wstunnel.Handler) error {
	t := &proxy.Transport{}
	defer t.CloseIdleConnections()
	target, _ := url.Parse(k.ws.URL)
	h.Proxy = &proxy.Handler{Target: target, Transport: t}
	defer func() { require.NoError(k.t, h.Shutdown(k.t.Context())) }()
	return k.hello(h)
}

// switched is tunnelled through a plain handler.
func (k *kit) switched(h *proxy.Handler) error {
	t := &proxy.Transport{}
	defer t.CloseIdleConnections()
	h.Transport = t
	h.Target, _ = url.Parse(k.ws.URL)
	defer func() { require.NoError(k.t, h.Shutdown(k.t.Context())) }()
	return k.hello(h)
}

func (k *kit) hello(h http.Handler) error {
	s := httptest.NewServer(h)
	defer s.Close()
	c, resp, err := websocket.DefaultDialer.DialContext(k.t.Context(), "ws"+s.URL[len("http"):], nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	defer func() { _ = c.Close() }()
	_ = c.SetReadDeadline(time.Now().Add(patience / 2))
	for range 2 {
		if err = c.WriteMessage(websocket.BinaryMessage, []byte("hello")); err != nil {
			return err
		}
		_, data, err := c.ReadMessage()
		if err != nil {
			return err
		}
		if !bytes.Equal(data, []byte("hello")) {
			return errors.New("another message")
		}
	}
	return nil
}
