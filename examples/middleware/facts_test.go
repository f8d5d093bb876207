package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	stdfcgi "net/http/fcgi"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/accesslog"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// facts are what one place knows of a request.
type facts struct{ Client, Scheme, Host, User, Auth string }

// tellFacts is an application that answers with what it is told.
func tellFacts(of func(r *http.Request) facts) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.Header().Set("Cache-Control", "max-age=60")
		text, _ := json.Marshal([]facts{of(r), {
			Client: r.Header.Get("X-Forwarded-For"), Scheme: r.Header.Get("X-Forwarded-Proto"), Host: r.Header.Get("X-Forwarded-Host"),
			User: r.Header.Get("X-User"), Auth: r.Header.Get("X-Forwarded-Prefix") + r.Header.Get("X-Real-Ip"),
		}})
		w.WriteHeader(http.StatusFound)
		_, _ = w.Write(text)
	})
}

// announcedListener takes the client out of the PROXY header of each connection.
type announcedListener struct{ net.Listener }

func (l announcedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	var line []byte
	for b := make([]byte, 1); !bytes.HasSuffix(line, []byte("\r\n")); line = append(line, b...) {
		if _, err := io.ReadFull(c, b); err != nil {
			return nil, err
		}
	}
	words := strings.Fields(string(line)) // PROXY TCP4 source destination port port
	return announcedConn{c, net.JoinHostPort(words[2], "0")}, nil
}

type announcedConn struct {
	net.Conn
	client string
}

func (c announcedConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.client))
}

// startMember starts an application behind one of the protocols.
func startMember(t *testing.T, protocol string) balancer.MemberConfig {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	hostname := func(s string) string { host, _, _ := strings.Cut(s, ":"); return host }
	b, err := backend.Parse(cmp.Or(map[string]string{"announced": "http"}[protocol], protocol) + "://" + l.Addr().String())
	require.NoError(t, err)
	m := balancer.MemberConfig{URL: b.String(), Route: "one", Backend: b}
	switch protocol {
	case "fcgi":
		m.RoundTripper = &fcgi.Transport{Backend: b}
		go func() {
			_ = stdfcgi.Serve(l, tellFacts(func(r *http.Request) facts {
				env := stdfcgi.ProcessEnv(r)
				return facts{hostname(r.RemoteAddr), env["REQUEST_SCHEME"], env["SERVER_NAME"], env["REMOTE_USER"], env["AUTH_TYPE"]}
			}))
		}()
	case "ajp":
		m.RoundTripper = &ajp.Transport{Backend: b}
		s := &ajp.Server{Handler: tellFacts(func(r *http.Request) facts {
			f := exchange.FactsOf(r, nil)
			return facts{f.ClientIP(), f.Scheme, "shop.test", f.User, f.AuthType}
		})}
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close() })
	default:
		tr := &proxy.Transport{Backend: b}
		m.RoundTripper = tr
		if protocol == "announced" {
			b.ProxyProtocol = backend.ProxyProtocolV1
			l = announcedListener{l}
		}
		s := httptest.NewUnstartedServer(tellFacts(func(r *http.Request) facts {
			return facts{hostname(r.RemoteAddr), "", "", "", ""}
		}))
		_ = s.Listener.Close()
		s.Listener = l
		s.Start()
		t.Cleanup(s.Close)
	}
	t.Cleanup(func() { _ = b.Close(); _ = l.Close() })
	return m
}

// TestFactsEverywhere composes what stands in front of an application in the
// orders in which people do, over both versions of HTTP, for clients behind a
// trusted proxy and others: each place that shows a fact shows the same.
func TestFactsEverywhere(t *testing.T) {
	office := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	known, err := access.ReadHtpasswd(strings.NewReader(users))
	require.NoError(t, err)
	for _, protocol := range []string{"http", "announced", "fcgi", "ajp"} {
		for order, doors := range map[string][]string{
			"as recommended":        {"remoteip", "log", "observer", "access", "auth", "cache"},
			"the log outermost":     {"observer", "log", "remoteip", "access", "auth", "cache"},
			"a cache at the end":    {"log", "observer", "remoteip", "auth", "access", "cachert"},
			"own authentication":    {"log", "observer", "remoteip", "access", "own", "cache"},
			"a Mux within":          {"log", "observer", "remoteip", "access", "auth", "mux", "cache", "mux"},
			"the Handler as a door": {"log", "observer", "trusting", "auth"},
			"the cache as a door":   {"log", "observer", "trustingcache", "auth"},
		} {
			for _, version := range []string{"HTTP/1.1", "HTTP/2"} {
				for _, trusted := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s/%s/%s/%t", protocol, order, version, trusted), func(t *testing.T) {
						testFacts(t, protocol, doors, version, trusted, office, known)
					})
				}
			}
		}
	}
}

func testFacts(t *testing.T, protocol string, doors []string, version string, trusted bool, office []netip.Prefix, known *access.Htpasswd) {
	if !trusted {
		office = office[1:]
	}
	var mu sync.Mutex // guards what follows
	var lines bytes.Buffer
	var hashed, key string
	var rec exchange.Record
	method := &balancer.Hash{Key: func(r *http.Request) string {
		mu.Lock()
		defer mu.Unlock()
		hashed = balancer.ClientAddr(r)
		return hashed
	}}
	b, err := balancer.New(balancer.Config{Name: "app", Method: method, Sticky: balancer.Sticky{Cookie: "R", SetCookie: &balancer.RouteCookie{}}}, startMember(t, protocol))
	require.NoError(t, err)
	defer b.Close()
	app := &proxy.Handler{
		Target: &url.URL{Scheme: "balancer", Host: "app", Path: "/"}, Transport: b, Reverse: []proxy.ReverseRule{{Path: "/", URL: "/"}},
		Rewrite: func(p *httputil.ProxyRequest) { p.Out.Header.Set("X-User", access.User(p.In.Context())) },
	}
	c := &cache.Cache{OnResult: func(_ *http.Request, res *cache.Result) { key = res.Key }}
	want := facts{Client: "127.0.0.1", Scheme: "http", Host: "front.test", User: "me", Auth: "Basic"}
	if version == "HTTP/2" {
		want.Scheme = "https"
	}
	if trusted {
		want.Client, want.Scheme, want.Host = "203.0.113.7", map[string]string{"http": "https", "https": "http"}[want.Scheme], "shop.test"
	}
	chain, viaRemoteIP := http.Handler(app), false
	for i := len(doors) - 1; i >= 0; i-- {
		switch doors[i] {
		case "remoteip":
			viaRemoteIP = true
			chain = (&access.RemoteIP{TrustedProxies: office}).Wrap(chain)
		case "log":
			l, err := accesslog.New(&lines, `%a %u %{c}a %h`)
			require.NoError(t, err)
			chain = l.Wrap(chain)
		case "observer":
			chain = (&proxy.Observer{Done: func(_ *http.Request, r *exchange.Record) { rec = *r }}).Wrap(chain)
		case "access":
			chain = (&access.Access{Allow: []netip.Prefix{netip.MustParsePrefix(want.Client + "/32")}}).Wrap(chain)
		case "auth":
			chain = (&access.BasicAuth{Verify: known.Verify}).Wrap(chain)
		case "own":
			want.Auth = "Token"
			next := chain
			chain = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, access.WithUser(r, "me", "Token")) })
		case "cache":
			chain = c.Wrap(chain)
		case "cachert":
			app.Transport = c.Transport(b)
		case "mux":
			var m proxy.Mux
			m.Handle("/", chain)
			chain = &m
		case "trusting":
			app.TrustedProxies = office
		case "trustingcache":
			c.TrustedProxies = office
			chain = c.Wrap(chain)
		}
	}
	front := httptest.NewUnstartedServer(chain)
	front.EnableHTTP2 = version == "HTTP/2"
	if front.EnableHTTP2 {
		front.StartTLS()
	} else {
		front.Start()
	}
	defer front.Close()
	client := front.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Transport.(*http.Transport).TLSClientConfig = cmp.Or(client.Transport.(*http.Transport).TLSClientConfig, &tls.Config{})
	r, err := http.NewRequest(http.MethodGet, front.URL+"/x.php", nil)
	require.NoError(t, err)
	r.Host = "front.test"
	r.SetBasicAuth("me", "secret")
	for name, value := range map[string]string{
		"X-Forwarded-For": "9.9.9.9, 203.0.113.7, 10.0.0.2", "X-Forwarded-Host": "shop.test", "X-User": "root", "X_User": "root", "Remote_User": "root",
		"X-Forwarded-Proto": map[bool]string{true: "http", false: "https"}[front.EnableHTTP2],
	} {
		r.Header.Set(name, value)
	}
	if !trusted {
		r.Header.Set("X-Forwarded-Prefix", "evil")
		r.Header.Set("X-Real-Ip", "evil")
	}
	resp, err := client.Do(r)
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusFound, resp.StatusCode, "%s", text)
	front.Close() // the log is written

	var got []facts
	require.NoError(t, json.Unmarshal(text, &got))
	told, fields := got[0], got[1]
	behind := want // as those see it that go by RemoteAddr: a Handler alone finds no client behind a proxy
	if !viaRemoteIP {
		behind.Client = "127.0.0.1"
	}
	chained := behind.Client
	if trusted {
		chained = "9.9.9.9, 203.0.113.7"
		if !viaRemoteIP {
			chained = "9.9.9.9, 203.0.113.7, 10.0.0.2, 127.0.0.1"
		}
	}
	require.Equal(t, facts{Client: chained, Scheme: want.Scheme, Host: want.Host, User: "me"}, fields, "fields")
	switch protocol {
	case "fcgi", "ajp":
		require.Equal(t, behind, facts{told.Client, told.Scheme, cmp.Or(map[bool]string{true: told.Host}[protocol == "fcgi"], behind.Host), told.User, told.Auth}, "application")
	case "announced":
		require.Equal(t, behind.Client, told.Client, "PROXY protocol")
	}
	require.Equal(t, want.Scheme+"://"+want.Host+"/elsewhere", resp.Header.Get("Location"))
	require.Equal(t, want.Scheme == "https", strings.Contains(resp.Header.Get("Set-Cookie"), "Secure"), "route cookie")
	require.Equal(t, behind.Client, hashed, "balancer")
	require.Equal(t, behind.Client+" me 127.0.0.1 "+behind.Client+"\n", lines.String(), "log")
	host, _, err := net.SplitHostPort(rec.Client)
	require.NoError(t, err)
	require.Equal(t, [2]string{behind.Client, "me"}, [2]string{host, rec.User}, "Record")
	if key != "" && !strings.HasPrefix(key, "balancer://") {
		require.Equal(t, want.Scheme+"://"+want.Host+"/x.php", strings.Fields(key)[0], "key")
	}
}
