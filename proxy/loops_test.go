package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestLoops: a request that comes back ends with 508, whether Via is sent or
// not, whatever it passes on its way.
func TestLoops(t *testing.T) {
	modes := map[string]proxy.ViaMode{"auto": proxy.ViaAuto, "off": proxy.ViaOff, "on": proxy.ViaOn, "full": proxy.ViaFull, "block": proxy.ViaBlock}
	ways := map[string]func(t *testing.T, mode proxy.ViaMode) http.Handler{
		"itself": func(t *testing.T, mode proxy.ViaMode) http.Handler {
			return circle(t, &proxy.Handler{ServerName: "a.test", Via: mode})
		},
		"two handlers": func(t *testing.T, mode proxy.ViaMode) http.Handler {
			return circle(t, &proxy.Handler{ServerName: "a.test", Via: mode}, &proxy.Handler{})
		},
		"two with names": func(t *testing.T, mode proxy.ViaMode) http.Handler {
			return circle(t, &proxy.Handler{ServerName: "a.test", Via: mode}, &proxy.Handler{ServerName: "b.test", Via: mode}, &proxy.Handler{ServerName: "c.test:80"})
		},
		"one name in two": func(t *testing.T, mode proxy.ViaMode) http.Handler {
			return circle(t, &proxy.Handler{ServerName: "a.test", Via: mode}, &proxy.Handler{ServerName: "A.test", Via: mode})
		},
		"balancer": func(t *testing.T, mode proxy.ViaMode) http.Handler {
			h := &proxy.Handler{ServerName: "a.test", Via: mode, Target: &url.URL{Scheme: "balancer", Host: "b"}}
			front := loopFront(t, h)
			b, err := balancer.New(balancer.Config{Name: "b"}, balancer.URLs(front.URL)...)
			require.NoError(t, err)
			t.Cleanup(func() { _ = b.Close() })
			h.Transport = b
			return h
		},
		"forward proxy": func(t *testing.T, mode proxy.ViaMode) http.Handler {
			f := &proxy.Forward{Clients: &access.Clients{Access: &access.Access{}}, Destinations: &access.Destinations{AllowPrivate: true}, Via: mode}
			remote, err := connect.NewRemote("*", loopFront(t, f).URL)
			require.NoError(t, err)
			f.Remotes = []access.Remote{remote}
			t.Cleanup(f.CloseIdleConnections)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.URL.Scheme, r.URL.Host, r.Host = "http", "origin.test", "origin.test"
				r.RequestURI = r.URL.String()
				f.ServeHTTP(w, r)
			})
		},
	}
	for name, way := range ways {
		for modeName, mode := range modes {
			t.Run(name+", Via "+modeName, func(t *testing.T) {
				for _, method := range []string{"GET", "HEAD", "POST"} {
					h := way(t, mode)
					r := httptest.NewRequest(method, "/x", nil)
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					require.Equal(t, http.StatusLoopDetected, w.Code, "%s %s", method, w.Body)
				}
			})
		}
	}
}

// loopFront serves h, but not for ever.
func loopFront(t *testing.T, h http.Handler) *httptest.Server {
	var served atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if served.Add(1) > 20 {
			http.Error(w, "it runs in a circle", http.StatusTeapot)
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// circle makes each handler the backend of the one before it.
func circle(t *testing.T, handlers ...*proxy.Handler) http.Handler {
	for i, h := range handlers {
		u, err := url.Parse(loopFront(t, h).URL)
		require.NoError(t, err)
		handlers[(i+len(handlers)-1)%len(handlers)].Target = u
		t.Cleanup(h.CloseIdleConnections)
	}
	return handlers[0]
}

// TestWhatTellsOfALoop: the name goes where it is meant to go, once, behind those
// of others; without a name of its own a proxy says nothing.
func TestWhatTellsOfALoop(t *testing.T) {
	for _, tt := range []struct {
		h         *proxy.Handler
		via, loop string
	}{
		{&proxy.Handler{}, "1.1 x", "y; a=b"},
		{&proxy.Handler{ServerName: "a.test"}, "1.1 x", "y; a=b, a.test"},
		{&proxy.Handler{ServerName: "a.test", Via: proxy.ViaOff}, "1.1 x", "y; a=b, a.test"},
		{&proxy.Handler{ServerName: "a.test", Via: proxy.ViaOn}, "1.1 x, 1.1 a.test", "y; a=b"},
		{&proxy.Handler{ServerName: "a.test", Via: proxy.ViaBlock}, "", "y; a=b, a.test"},
		{&proxy.Handler{Via: proxy.ViaOn}, "1.1 x, 1.1 modproxy", "y; a=b"},
	} {
		var sent http.Header
		tt.h.Target = &url.URL{Scheme: "http", Host: "back.test"}
		tt.h.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			sent = r.Header
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})
		r := httptest.NewRequest("GET", "/", nil)
		r.Header = http.Header{"Via": {"1.1 x"}, "Cdn-Loop": {"y; a=b"}, "Connection": {"close"}}
		tt.h.ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, tt.via, strings.Join(sent["Via"], " and "), "%+v", tt.h.Via)
		require.Equal(t, tt.loop, strings.Join(sent["Cdn-Loop"], " and "))

		// No proxy before this one can hide that the request was here.
		r = httptest.NewRequest("GET", "/", nil)
		r.Header = http.Header{"Cdn-Loop": {"x,\tA.TEST ; p"}, "Connection": {"cdn-loop"}}
		w := httptest.NewRecorder()
		tt.h.ServeHTTP(w, r)
		want := 200
		if tt.h.ServerName != "" {
			want = http.StatusLoopDetected
		}
		require.Equal(t, want, w.Code)
	}
	require.False(t, exchange.Passed(http.Header{"Via": {"1.1 a, a"}, "Cdn-Loop": {"ab, b;a"}, "X": {"1.1 a"}}, "b.a"))
}

// TestLoopsOfTunnels: two proxies that send CONNECT to each other, with Via off
// for all else.
func TestLoopsOfTunnels(t *testing.T) {
	var fronts [2]*httptest.Server
	var forwards [2]*proxy.Forward
	for i := range forwards {
		f := &proxy.Forward{Clients: &access.Clients{Access: &access.Access{}}, Destinations: &access.Destinations{AllowPrivate: true}, Via: proxy.ViaOff}
		f.Connect = &connect.Handler{DialContext: f.DialContext}
		forwards[i], fronts[i] = f, loopFront(t, f)
	}
	for i, f := range forwards {
		remote, err := connect.NewRemote("*", fronts[1-i].URL)
		require.NoError(t, err)
		f.Remotes = []access.Remote{remote}
		t.Cleanup(f.CloseIdleConnections)
	}
	conn, err := fronts[0].Client().Transport.(*http.Transport).DialContext(t.Context(), "tcp", fronts[0].Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, _ = fmt.Fprint(conn, "CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n")
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	require.NoError(t, err)
	require.Contains(t, string(answer[:n]), "HTTP/1.1 508 ")

	r, err := http.NewRequest("GET", "http://origin.test/", nil)
	require.NoError(t, err)
	proxyURL, err := url.Parse(fronts[0].URL)
	require.NoError(t, err)
	tr := &http.Transport{Proxy: http.ProxyURL(proxyURL)}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(r)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusLoopDetected, resp.StatusCode)
}
