package proxy_test

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
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/balancer/manager"
	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/wstunnel"
)

// noHosts are none, by RFC 9110 section 7.2 and RFC 3986 section 3.2.
var noHosts = []string{
	"a:b:c", "[::1", "::1", "x:bad", "%zz", "good.example:80.evil", "good.example:65536", ":80", "good.example:-1", "good.example:+8",
	"good.example/x", "good.example?x", "good.example#x", "good example", `good"example`, `good\example`, "user@good.example", "<x>", "good.example,b|c",
	"[fe80::1%25eth0]", "[fe80::1%eth0]:80", "[127.0.0.1]", "[::1]x", "[]", "[v.x]", "[v1.]", "é.example", "a\x00b", "a\r\nX: y", " good.example", "good.example ", "%4", "good.example:80:80",
}

// hosts are some, in all their forms.
var hosts = []string{
	"", "good.example", "GOOD.example:8080", "good.example:", "good.example:00080", "good.example.", "127.0.0.1:1", "[::1]", "[::1]:65535", "[::ffff:1.2.3.4]", "[v1.a:b]",
	"a_b", "a~b", "%41.example", "a!$&'()*+,;=b", "1.2.3.4.5",
}

// doors are all handlers that a client may stand before. reached is called by
// what is behind them.
func doors(t *testing.T, reached func()) map[string]http.Handler {
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "index.html"), []byte("x"), 0o600))
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached() })
	back := roundTripper(func(r *http.Request) (*http.Response, error) {
		reached()
		return &http.Response{StatusCode: 200, ProtoMajor: 1, Header: make(http.Header), Body: http.NoBody, Request: r}, nil
	})
	handler := func() *proxy.Handler {
		h, err := proxy.NewHandler("/", "http://back.test/")
		require.NoError(t, err)
		h.Transport = back
		return h
	}
	rules, exceptions := &proxy.Mux{}, &proxy.Mux{Next: next}
	rules.Handle("/", next)
	exceptions.Except("/")
	everybody := &access.Clients{Access: &access.Access{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}
	b, err := balancer.New(balancer.Config{Name: "b"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	site, err := fcgi.NewHandler(root, "fcgi://127.0.0.1:1")
	require.NoError(t, err)
	return map[string]http.Handler{
		"Handler":           handler(),
		"Mux":               rules,
		"Mux.Next":          exceptions,
		"Forward.Next":      &proxy.Forward{Clients: everybody, Next: next},
		"Cache":             new(cache.Cache).Wrap(next),
		"PurgeHandler":      new(cache.Cache).PurgeHandler(),
		"fcgi.Handler":      site,
		"wstunnel.Handler":  &wstunnel.Handler{Proxy: handler()},
		"manager.Handler":   manager.New(b),
		"connect.Handler":   &connect.Handler{Clients: everybody, Ports: []access.PortRange{{First: 1, Last: 65535}}, DialContext: func(context.Context, string, string) (net.Conn, error) { reached(); return nil, errors.New("no") }},
		"Forward.Connect":   &proxy.Forward{Clients: everybody, Destinations: &access.Destinations{AllowPrivate: true}, Connect: next},
		"Handler in a Mux":  func() http.Handler { m := &proxy.Mux{}; m.Handle("", handler()); return m }(),
		"Cache over Mux":    new(cache.Cache).Wrap(rules),
		"Rewrite, not told": &proxy.Handler{Transport: back, Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(&url.URL{Scheme: "http", Host: "back.test"}) }},
	}
}

type roundTripper func(r *http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// arrivals are the ways in which a Host comes.
var arrivals = map[string]func(r *http.Request, host string){
	"Host": func(r *http.Request, host string) { r.Host = host },
	"absolute form": func(r *http.Request, host string) {
		if r.Method != http.MethodConnect {
			r.URL.Scheme = "http"
		}
		r.URL.Host, r.Host = host, host
	},
	"absolute form beside Host": func(r *http.Request, host string) { r.URL.Host = host },
	"field beside :authority": func(r *http.Request, host string) {
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
		r.Header["Host"] = []string{host}
		if host == "" {
			delete(r.Header, "Host")
		}
		if _, _, err := exchange.ParseHost(host); err == nil {
			r.Host = host
		}
	},
}

// TestDoors: each door refuses each Host that is none, however it comes, with
// 400, and nothing behind it is reached.
func TestDoors(t *testing.T) {
	reached := 0
	for door, h := range doors(t, func() { reached++ }) {
		for arrival, set := range arrivals {
			ask := func(host string) *httptest.ResponseRecorder {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				if strings.HasSuffix(strings.ToLower(door), "connect") || door == "connect.Handler" {
					r.Method, r.RequestURI, r.URL = http.MethodConnect, "good.example:443", &url.URL{Host: "good.example:443"}
				}
				r.Host = "good.example"
				set(r, host)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				return w
			}
			for _, host := range noHosts {
				reached = 0
				require.Equal(t, http.StatusBadRequest, ask(host).Code, "%s, %s: %q", door, arrival, host)
				require.Zero(t, reached, "%s, %s: %q", door, arrival, host)
			}
			if door == "Forward.Next" {
				continue // absolute form is for a destination, by stricter rules
			}
			for _, host := range hosts {
				require.NotEqual(t, http.StatusBadRequest, ask(host).Code, "%s, %s: %q", door, arrival, host)
			}
		}
		for name, fields := range map[string][]string{"two": {"good.example", "good.example"}, "another": {"evil.example"}} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host, r.Header["Host"] = "good.example", fields
			if door == "connect.Handler" || door == "Forward.Connect" {
				r.Method, r.RequestURI = http.MethodConnect, "good.example:443"
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, http.StatusBadRequest, w.Code, "%s: %s", door, name)
		}
	}
}

// TestErrorOfTheDoor: embedders get a typed error.
func TestErrorOfTheDoor(t *testing.T) {
	var got error
	h, err := proxy.NewHandler("/", "http://back.test/")
	require.NoError(t, err)
	h.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		got = err
		w.WriteHeader(exchange.StatusOf(err))
	}
	for name, door := range map[string]http.Handler{"Handler": h, "fcgi": &fcgi.Handler{Proxy: h}, "wstunnel": &wstunnel.Handler{Proxy: h}, "Forward": &proxy.Forward{
		Clients: &access.Clients{Access: &access.Access{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}, ErrorHandler: h.ErrorHandler,
	}} {
		got = nil
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = "a:b:c"
		w := httptest.NewRecorder()
		door.ServeHTTP(w, r)
		requireHostError(t, got, name)
		require.Equal(t, http.StatusBadRequest, w.Code, name)
	}
}

func requireHostError(t *testing.T, err error, about ...any) {
	t.Helper()
	var e *exchange.Error
	require.ErrorAs(t, err, &e, about...)
	require.ErrorIs(t, err, exchange.ErrHost, about...)
	require.Equal(t, http.StatusBadRequest, e.Status, about...)
	require.Equal(t, exchange.OpRequest, e.Op, about...)
}

// TestHostsThatAreSent: no transport writes a Host that is none, be it set by
// Rewrite, and none opens a connection for it.
func TestHostsThatAreSent(t *testing.T) {
	dial := func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialled")
		return nil, errors.New("no")
	}
	at := func(scheme string) *backend.Backend {
		return &backend.Backend{URL: &url.URL{Scheme: scheme, Host: "127.0.0.1:1"}, DialContext: dial}
	}
	h1 := &proxy.Transport{Backend: at("http")}
	never := roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("asked")
		return nil, errors.New("no")
	})
	for name, tr := range map[string]struct {
		scheme string
		http.RoundTripper
	}{
		"HTTP/1.1":  {"http", h1},
		"HTTP/2":    {"h2c", &proxy.Transport{Backend: at("h2c")}},
		"FastCGI":   {"fcgi", &fcgi.Transport{Backend: at("fcgi")}},
		"AJP":       {"ajp", &ajp.Transport{Backend: at("ajp")}},
		"WebSocket": {"ws", &wstunnel.Transport{Base: h1}},
		"parent":    {"http", &connect.Transport{Dialer: &connect.Dialer{Proxy: &url.URL{Scheme: "http", Host: "127.0.0.1:1"}, DialParent: dial}}},
		"cache":     {"http", new(cache.Cache).Transport(never)},
	} {
		for _, host := range noHosts {
			r := &http.Request{Method: http.MethodPost, URL: &url.URL{Scheme: tr.scheme, Host: "127.0.0.1:1", Path: "/a.php"}, Host: host, Header: make(http.Header)}
			body := &closing{Reader: strings.NewReader("x")}
			r.Body, r.ContentLength = body, 1
			_, err := tr.RoundTrip(r)
			requireHostError(t, err, "%s: %q", name, host)
			require.True(t, body.closed, "%s: %q", name, host)
		}
	}
	for _, host := range noHosts {
		var got error
		h := &proxy.Handler{Transport: never, Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(&url.URL{Scheme: "http", Host: "back.test"})
			pr.Out.Host = host
		}, ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { got = err }}
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		requireHostError(t, got, "Rewrite: %q", host)
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

// TestZoneIsNotSent: a backend on this machine's link is told its address
// without the zone.
func TestZoneIsNotSent(t *testing.T) {
	for host, want := range map[string]string{"[fe80::1%eth0]:8080": "[fe80::1]:8080", "[fe80::1%a]": "[fe80::1]", "[fe80::1]": "[fe80::1]", "a.test": "a.test"} {
		got, err := exchange.OutgoingHost(&http.Request{URL: &url.URL{Host: host}})
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestUsualPortIsNotSent: httpd leaves port 80 out of Host, and no other.
func TestUsualPortIsNotSent(t *testing.T) {
	for target, want := range map[string]string{
		"http://a.test:80": "a.test", "ws://a.test:80": "a.test", "h2c://a.test:80": "a.test", "http://[::1]:80": "[::1]",
		"http://a.test:8080": "a.test:8080", "http://a.test:443": "a.test:443", "https://a.test:80": "a.test:80", "https://a.test:443": "a.test:443",
	} {
		u, err := url.Parse(target)
		require.NoError(t, err)
		got, err := exchange.OutgoingHost(&http.Request{URL: u})
		require.NoError(t, err)
		require.Equal(t, want, got, target)
		got, err = exchange.OutgoingHost(&http.Request{URL: u, Host: "own.test:80"})
		require.NoError(t, err)
		require.Equal(t, "own.test:80", got)
	}
}

// TestDoorsOnTheWire sends bytes to a server, in HTTP/1.1 and HTTP/2, and looks
// at what the backend is told.
func TestDoorsOnTheWire(t *testing.T) {
	told := make(chan string, 64)
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told <- r.Host + " " + r.Header.Get("X-Forwarded-Host") + " " + r.Header.Get("Forwarded")
		w.Header().Set("Location", "http://"+r.Host+"/there")
		w.WriteHeader(http.StatusFound)
	}))
	defer back.Close()
	h, err := proxy.NewHandler("/", back.URL+"/")
	require.NoError(t, err)
	h.PreserveHost, h.ForwardedField = true, true
	h.Reverse = []proxy.ReverseRule{{Path: "/", URL: "/"}}
	defer h.CloseIdleConnections()
	front := httptest.NewUnstartedServer(h)
	front.Config.Protocols = new(http.Protocols)
	front.Config.Protocols.SetHTTP1(true)
	front.Config.Protocols.SetUnencryptedHTTP2(true)
	front.Start()
	defer front.Close()
	addr := front.Listener.Addr().String()
	for name, ask := range map[string]func(t *testing.T, addr, host string) (int, string){
		"HTTP/1.1": askHTTP1, "absolute form": askAbsolute, "HTTP/2": askHTTP2, "HTTP/2, Host alone": askHTTP2Host, "HTTP/2, both": askHTTP2Both,
	} {
		t.Run(name, func(t *testing.T) {
			for _, host := range noHosts {
				if !strings.HasPrefix(name, "HTTP/2") && (strings.TrimSpace(host) != host || strings.Contains(host, "\n")) || name == "absolute form" && strings.ContainsAny(host, "/?#@") {
					continue // there it is no part of the host
				}
				code, _ := ask(t, addr, host)
				require.Contains(t, []int{http.StatusBadRequest, -1}, code, "%q", host) // -1: the stream is reset
			}
			for _, host := range []string{"good.example", "Good.example:8080", "[::1]:81", "a,b"} {
				code, location := ask(t, addr, host)
				require.Equal(t, http.StatusFound, code, host)
				require.Equal(t, "http://"+host+"/there", location)
				quoted := host
				if strings.ContainsAny(host, "[:,") {
					quoted = `"` + host + `"`
				}
				require.Equal(t, host+" "+host+" for=127.0.0.1;proto=http;host="+quoted, <-told)
			}
			require.Empty(t, told)
		})
	}
}

func askHTTP1(t *testing.T, addr, host string) (int, string) {
	return askLine(t, addr, "GET /x HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
}

func askAbsolute(t *testing.T, addr, host string) (int, string) {
	return askLine(t, addr, "GET http://"+host+"/x HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n")
}

func askLine(t *testing.T, addr, text string) (int, string) {
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, text)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err, text)
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("Location")
}

func askHTTP2(t *testing.T, addr, host string) (int, string) {
	return askFields(t, addr, ":authority", host)
}

func askHTTP2Host(t *testing.T, addr, host string) (int, string) {
	return askFields(t, addr, "host", host)
}

func askHTTP2Both(t *testing.T, addr, host string) (int, string) {
	if _, _, err := exchange.ParseHost(host); err != nil {
		return askFields(t, addr, ":authority", "good.example", "host", host)
	}
	return askFields(t, addr, ":authority", host, "host", host)
}

// askFields sends a request as any client may, and returns -1 if its stream is
// reset.
func askFields(t *testing.T, addr string, fields ...string) (code int, location string) {
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, http2.ClientPreface)
	require.NoError(t, err)
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	require.NoError(t, f.WriteSettings())
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i, all := 0, append([]string{":method", "GET", ":scheme", "http", ":path", "/x"}, fields...); i < len(all); i += 2 {
		require.NoError(t, enc.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]}))
	}
	require.NoError(t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return -1, ""
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return -1, ""
		case *http2.MetaHeadersFrame:
			_, _ = fmt.Sscan(frame.PseudoValue("status"), &code)
			for _, field := range frame.RegularFields() {
				if field.Name == "location" {
					location = field.Value
				}
			}
			return code, location
		}
	}
}
