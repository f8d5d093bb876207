package proxy

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/http1"
)

// everybody admits all clients.
func everybody() *access.Clients { return &access.Clients{Access: &access.Access{}} }

// toLoopback sends all names below "test" to a server, and lets them.
func toLoopback(t *testing.T, server *httptest.Server) *access.Destinations {
	return &access.Destinations{
		AllowPrivate: true,
		Lookup: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			if !strings.HasSuffix(host, ".test") {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(address)
			if port == "80" || port == "443" {
				address = server.Listener.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
}

// mirror answers with the request's head as it came.
var mirror = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s\nHost: %s\n", r.Method, r.RequestURI, r.Host)
	_ = r.Header.Write(w)
})

// forwardTo starts a forward proxy whose origin is h.
func forwardTo(t *testing.T, h http.Handler, change func(f *Forward)) (*Forward, string) {
	f := &Forward{Clients: everybody(), Destinations: toLoopback(t, frontOf(t, h)), ServerName: "fwd.test"}
	if change != nil {
		change(f)
	}
	front := frontOf(t, f)
	t.Cleanup(f.CloseIdleConnections)
	return f, front.Listener.Addr().String()
}

// once asks for the connection to be closed, so that all of the answer can
// be read.
func once(request string) string { return request + "Connection: close\r\n\r\n" }

func TestForwardNeedsARule(t *testing.T) {
	for name, clients := range map[string]*access.Clients{"nil": nil, "empty": {}} {
		t.Run(name, func(t *testing.T) {
			f, at := forwardTo(t, mirror, func(f *Forward) {
				f.Clients = clients
				f.Connect = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("CONNECT was served") })
			})
			require.ErrorIs(t, f.Validate(), access.ErrNoClients)
			for _, request := range []string{"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n", "GET / HTTP/1.1\r\nHost: a.test\r\n"} {
				require.Contains(t, exchangeRaw(t, at, once(request)), "403 Forbidden")
			}
			_, err := f.DialContext(context.Background(), "tcp", "a.test:443")
			require.ErrorIs(t, err, access.ErrNoClients)
		})
	}
	require.Error(t, (&Forward{Clients: &access.Clients{Auth: &access.BasicAuth{}}}).Validate())
	require.Error(t, (&Forward{Clients: everybody(), Remotes: []access.Remote{{Match: "*"}}}).Validate())
}

// TestForwardRequest: what the origin gets of a request.
func TestForwardRequest(t *testing.T) {
	_, at := forwardTo(t, mirror, nil)
	got := exchangeRaw(t, at, once("GET http://A.test:80/x/../y?q=a;b HTTP/1.1\r\nHost: other.test\r\nProxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\nAuthorization: Basic YTpi\r\nX-Forwarded-For: 1.2.3.4\r\nVia: 1.0 prev\r\n"))
	require.Contains(t, got, "200 OK")
	require.Contains(t, got, "\nGET /x/../y?q=a;b\nHost: A.test:80\n", "the URI wins over the field")
	require.Contains(t, got, "Via: 1.0 prev, 1.1 fwd.test\r\n")
	require.Contains(t, got, "Authorization: Basic YTpi\r\n")
	require.Contains(t, got, "X-Forwarded-For: 1.2.3.4\r\n", "passed on, and nothing added")
	for _, gone := range []string{"Proxy-", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded: ", "eDp5", "127.0.0.1"} {
		require.NotContains(t, got, gone)
	}
	require.Contains(t, got, "Via: 1.1 fwd.test\r\n", "of the answer")
}

func TestForwardSendsBytesAsWritten(t *testing.T) {
	_, at := forwardTo(t, mirror, nil)
	for _, path := range []string{`/a%2Fb;c/../d|"e`, "/%7e%7E~", "/a{b}^`", "/%E4%F6", "/a\\b", "//x/y", "/", "/?", "/x?%zz&\"|"} {
		got := exchangeRaw(t, at, once("GET http://a.test"+path+" HTTP/1.1\r\nHost: a.test\r\n"))
		require.Contains(t, got, "\nGET "+path+"\n")
	}
	require.Contains(t, exchangeRaw(t, at, once("GET http://a.test HTTP/1.1\r\nHost: a.test\r\n")), "\nGET /\n")
	require.Contains(t, exchangeRaw(t, at, once("GET http://a.test?x HTTP/1.1\r\nHost: a.test\r\n")), "\nGET /?x\n")
}

// TestForwardOptions: RFC 9112 section 3.2.4.
func TestForwardOptions(t *testing.T) {
	lines := make(chan string, 2)
	o := newOrigin(t, func(c *originConn, _ int) {
		for {
			r, _, ok := c.request()
			if !ok {
				return
			}
			lines <- r.Method + " " + r.RequestURI
			c.say("HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	_, at := forwardTo(t, mirror, func(f *Forward) {
		f.Destinations.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, o.url().Host)
		}
	})
	for target, want := range map[string]string{"http://a.test": "OPTIONS *", "http://a.test/": "OPTIONS /", "http://a.test?x": "OPTIONS /?x"} {
		exchangeRaw(t, at, once("OPTIONS "+target+" HTTP/1.1\r\nHost: a.test\r\n"))
		require.Equal(t, want, <-lines)
	}
}

func TestForwardRefuses(t *testing.T) {
	_, at := forwardTo(t, mirror, func(f *Forward) { f.Destinations.DenyHosts = []string{"bad.test"} })
	for target, status := range map[string]int{
		"/x": 400, "/http://a.test/": 400, "ftp://a.test/": 400, "foo:bar": 400, "http:/x": 400, "http:///x": 400, "http://": 400,
		"http://user:pw@a.test/": 400, "http://a.test/x#y": 400, "http://a.test:0/": 400, "http://a.test:99999/": 400, "http://2130706433/": 400,
		"http://127.1/": 400, "http://[fe80::1%25eth0]/": 400, "http://bad.test/": 403, "http://BAD.test.:80/": 403, "http://unknown.invalid/": 503, "HTTP://a.test/": 200,
	} {
		got := exchangeRaw(t, at, once("GET "+target+" HTTP/1.1\r\nHost: a.test\r\n"))
		require.Regexp(t, fmt.Sprintf("^HTTP/1.1 %d ", status), got, target)
	}
}

// TestForwardOtherScheme: a transport for FTP gets the credentials of a URL as a
// field, which is in no log.
func TestForwardOtherScheme(t *testing.T) {
	_, at := forwardTo(t, mirror, func(f *Forward) {
		f.Transports = map[string]http.RoundTripper{"ftp": roundTripFunc(func(r *http.Request) (*http.Response, error) {
			user, password, _ := r.BasicAuth()
			h := http.Header{"X-Got": {fmt.Sprintf("%s as %q %q", r.URL, user, password)}}
			return &http.Response{StatusCode: 200, Header: h, Body: http.NoBody, Request: r}, nil
		})}
	})
	for target, want := range map[string]string{
		"ftp://a.test/x;type=i":        `ftp://a.test/x;type=i as "" ""`,
		"ftp://u:p%40%3a%20@a.test/x":  `ftp://a.test/x as "u" "p@: "`,
		"ftp://u@a.test:2121/":         `ftp://a.test:2121/ as "u" ""`,
		"ftp://u%3Av:p@a.test/":        "",
		"http://a.test/":               "",
		"ftp://u:p@127.0.0.1:notaport": "",
	} {
		got := exchangeRaw(t, at, once("GET "+target+" HTTP/1.1\r\nHost: a.test\r\n"))
		if want == "" {
			require.Regexp(t, "^HTTP/1.1 400 ", got, target)
			continue
		}
		require.Contains(t, got, "\r\nX-Got: "+want+"\r\n", target)
	}
	got := exchangeRaw(t, at, once("GET ftp://u:p@a.test/ HTTP/1.1\r\nHost: a.test\r\nAuthorization: Basic djp3\r\n"))
	require.Contains(t, got, `X-Got: ftp://a.test/ as "v" "w"`)
}

// TestForwardRefusesPrivate: the same rules as for tunnels, with the default.
func TestForwardRefusesPrivate(t *testing.T) {
	_, at := forwardTo(t, mirror, func(f *Forward) { f.Destinations = nil })
	for _, host := range []string{"localhost", "127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.1.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[fd12:3456::1]", "[fe80::1]"} {
		got := exchangeRaw(t, at, once("GET http://"+host+":9/ HTTP/1.1\r\nHost: a.test\r\n"))
		require.Regexp(t, "^HTTP/1.1 403 ", got, host)
	}
}

func TestForwardAsksForCredentials(t *testing.T) {
	var asked atomic.Int32
	served := 0
	_, at := forwardTo(t, mirror, func(f *Forward) {
		f.Clients = &access.Clients{Auth: &access.BasicAuth{Realm: "fwd", Verify: countedVerify(&asked)}}
		f.Connect = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			served++
			require.True(t, access.Admitted(r.Context()))
			require.Equal(t, "alice", access.User(r.Context()))
			w.WriteHeader(http.StatusTeapot)
		})
	})
	good := "Proxy-Authorization: " + basic("alice", "pass:word") + "\r\n"
	for _, target := range []string{"GET http://a.test/", "GET http://%zz", "GET ftp://x/", "CONNECT a.test:443", "CONNECT a.test"} {
		for _, field := range []string{"", "Proxy-Authorization: " + basic("alice", "wrong") + "\r\n", "Authorization: " + basic("alice", "pass:word") + "\r\n"} {
			got := exchangeRaw(t, at, once(target+" HTTP/1.1\r\nHost: a.test\r\n"+field))
			if strings.Contains(target, "%zz") {
				require.Contains(t, got, "400 Bad Request") // by net/http
				continue
			}
			require.Contains(t, got, "407 Proxy Authentication Required", target)
			require.Contains(t, got, "Proxy-Authenticate: Basic realm=\"fwd\", charset=\"UTF-8\"\r\n")
		}
	}
	require.Contains(t, exchangeRaw(t, at, once("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"+good)), "200 OK")
	require.Contains(t, exchangeRaw(t, at, once("GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n"+good)), "400 Bad")
	require.Contains(t, exchangeRaw(t, at, once("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n"+good)), "418 ")
	require.Contains(t, exchangeRaw(t, at, once("CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n"+good)), "400 ")
	require.Equal(t, 1, served)
}

func TestForwardRulesOfClients(t *testing.T) {
	_, at := forwardTo(t, mirror, func(f *Forward) {
		f.Clients = &access.Clients{
			Access: &access.Access{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
			Allow: func(r *http.Request) error {
				switch r.URL.Hostname() {
				case "plain.test":
					return fmt.Errorf("no reason")
				case "teapot.test":
					return &exchange.Error{Op: exchange.OpRequest, Status: 418, Err: fmt.Errorf("tea"), Header: http.Header{"X-Tea": {"green"}}}
				}
				return nil
			},
		}
	})
	require.Contains(t, exchangeRaw(t, at, once("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n")), "200 OK")
	require.Contains(t, exchangeRaw(t, at, once("GET http://plain.test/ HTTP/1.1\r\nHost: a.test\r\n")), "403 Forbidden")
	got := exchangeRaw(t, at, once("GET http://teapot.test/ HTTP/1.1\r\nHost: a.test\r\n"))
	require.Contains(t, got, "418 ")
	require.Contains(t, got, "X-Tea: green\r\n")
	_, at = forwardTo(t, mirror, func(f *Forward) {
		f.Clients = &access.Clients{Access: &access.Access{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	})
	require.Contains(t, exchangeRaw(t, at, once("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n")), "403 Forbidden")
}

func TestForwardAndNext(t *testing.T) {
	_, at := forwardTo(t, mirror, func(f *Forward) {
		f.Clients = &access.Clients{Access: &access.Access{Deny: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}
		f.Next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "own ", r.URL.Path) })
	})
	require.Contains(t, exchangeRaw(t, at, once("GET /x HTTP/1.1\r\nHost: a.test\r\n")), "own /x", "rules of the proxy are not those of the site")
	require.Contains(t, exchangeRaw(t, at, once("GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n")), "403 Forbidden")
}

// TestForwardLoops: through a chain of two that leads back, and with a name
// made up by the proxy itself.
func TestForwardLoops(t *testing.T) {
	var self atomic.Value
	f := &Forward{Clients: everybody(), Destinations: &access.Destinations{AllowPrivate: true, Lookup: func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, self.Load().(string))
	}}}
	// The origin is the proxy, which takes the request for its own origin-form.
	f.Next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		again := *r
		u := *r.URL
		u.Scheme, u.Host = "http", "a.test"
		again.URL = &u
		f.ServeHTTP(w, &again)
	})
	front := frontOf(t, f)
	t.Cleanup(f.CloseIdleConnections)
	self.Store(front.Listener.Addr().String())
	require.Contains(t, exchangeRaw(t, front.Listener.Addr().String(), once("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n")), "508 Loop Detected")
	require.Regexp(t, "^modproxy-[0-9a-f]{12}$", f.ServerName)
}

func TestForwardDomain(t *testing.T) {
	_, at := forwardTo(t, mirror, func(f *Forward) { f.Domain = ".corp.test" })
	got := exchangeRaw(t, at, once("GET http://wiki:80/x?y HTTP/1.1\r\nHost: wiki\r\n"))
	require.Contains(t, got, "301 Moved Permanently")
	require.Contains(t, got, "Location: http://wiki.corp.test:80/x?y\r\n")
	require.Contains(t, exchangeRaw(t, at, once("POST http://wiki/x HTTP/1.1\r\nHost: wiki\r\nContent-Length: 0\r\n")), "503 ")
	require.Contains(t, exchangeRaw(t, at, once("GET http://localhost/ HTTP/1.1\r\nHost: wiki\r\n")), "503 ")
	require.Contains(t, exchangeRaw(t, at, once("GET http://a.test/ HTTP/1.1\r\nHost: wiki\r\n")), "200 OK")
}

// byName is a RoundTripper that tells its name.
type byName string

func (n byName) RoundTrip(r *http.Request) (*http.Response, error) {
	text := string(n) + " " + r.URL.String()
	return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: int64(len(text)), Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

func TestForwardRemotes(t *testing.T) {
	dialled := ""
	_, at := forwardTo(t, mirror, func(f *Forward) {
		loopback, dial := f.Destinations.Lookup, f.Destinations.Dial
		f.Destinations.Lookup = func(ctx context.Context, network, host string) ([]netip.Addr, error) {
			if strings.HasPrefix(host, "far") {
				return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
			}
			return loopback(ctx, network, host)
		}
		f.Transports = map[string]http.RoundTripper{"http": nil, "ftp": byName("ftp-itself")}
		f.Remotes = []access.Remote{
			{Match: "FTP", Transport: byName("by-scheme")},
			{Match: "http://Far.prefix.test/x", Transport: byName("by-prefix")},
			{Pattern: regexp.MustCompile(`^https?://[^/]*regex`), Transport: byName("by-regex")},
			{Match: "http://far.socks.test", DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				dialled = address
				return dial(ctx, network, "8.8.8.8:80")
			}},
			{Match: "*", Transport: byName("rest")},
		}
		f.NoProxy = []string{".direct.test", "127.0.0.0/30", "exact.test."}
	})
	for url, want := range map[string]string{
		"ftp://far.test/x":           "by-scheme ftp://far.test/x",
		"http://far.prefix.test/xyz": "by-prefix http://far.prefix.test/xyz",
		"http://far.prefix.test/y":   "rest http://far.prefix.test/y",
		"http://far.regex.test/":     "by-regex ",
		"http://8.8.4.4/?regex":      "rest ",
		"http://far.socks.test/y":    "GET /y\nHost: far.socks.test\n",
		"http://unknown.invalid/":    "rest ",           // the other proxy may know it
		"http://far.direct.test/":    "GET /\n",         // directly
		"http://exact.test/":         "GET /\n",         // directly
		"http://far.exact.test/":     "rest ",           // not exactly
		"http://a.test/":             "GET /\nHost: a.", // resolves into a network of NoProxy
		"http://127.0.0.2/":          "GET /\n",
	} {
		require.Contains(t, exchangeRaw(t, at, once("GET "+url+" HTTP/1.1\r\nHost: x\r\n")), want, url)
	}
	require.Equal(t, "far.socks.test:80", dialled, "the other proxy resolves names")
}

func TestForwardDialsByRemotes(t *testing.T) {
	var dialled []string
	remember := func(name string) func(context.Context, string, string) (net.Conn, error) {
		return func(_ context.Context, _, address string) (net.Conn, error) {
			dialled = append(dialled, name+" "+address)
			return nil, io.EOF
		}
	}
	f := &Forward{Clients: everybody(), Destinations: &access.Destinations{DenyHosts: []string{"bad.test"}}, Remotes: []access.Remote{
		{Match: "https://a.test/", DialContext: remember("443")},
		{Match: "https://a.test:8443/", DialContext: remember("8443")},
		{Match: "http", Transport: byName("x")},
		{Match: "https://plain.test", Transport: byName("x")},
		{Match: "https", DialContext: remember("rest")},
	}}
	for _, address := range []string{"A.test.:443", "a.test:8443", "b.test:443", "[2606:4700::1]:443"} {
		_, err := f.DialContext(context.Background(), "tcp", address)
		require.ErrorIs(t, err, io.EOF)
	}
	require.Equal(t, []string{"443 a.test:443", "8443 a.test:8443", "rest b.test:443", "rest [2606:4700::1]:443"}, dialled)
	_, err := f.DialContext(context.Background(), "tcp", "plain.test:443")
	require.Equal(t, 503, exchange.StatusOf(err))
	for _, address := range []string{"bad.test:443", "127.0.0.1:443"} {
		_, err = f.DialContext(context.Background(), "tcp", address)
		require.Equal(t, 403, exchange.StatusOf(err), "another proxy gets no forbidden requests either")
	}
	_, err = f.DialContext(context.Background(), "tcp", "bad")
	require.Equal(t, 400, exchange.StatusOf(err))
}

// TestRemoteOfAnotherScheme: what is for no Remote by its scheme goes by none.
func TestRemoteOfAnotherScheme(t *testing.T) {
	_, at := forwardTo(t, mirror, func(f *Forward) {
		f.Remotes = []access.Remote{{Match: "https", DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			return nil, fmt.Errorf("the other proxy was asked for %s", address)
		}}}
	})
	require.Contains(t, exchangeRaw(t, at, once("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n")), "GET /\nHost: a.test\n")
}

// TestForwardByHTTPTransport: Go's own client, which the proxy is set for.
func TestForwardByHTTPTransport(t *testing.T) {
	for name, front := range map[string]func(*testing.T, http.Handler) *httptest.Server{
		"http": frontOf,
		"https": func(t *testing.T, h http.Handler) *httptest.Server {
			s := httptest.NewTLSServer(h)
			t.Cleanup(s.Close)
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			f := &Forward{Clients: &access.Clients{Auth: &access.BasicAuth{Verify: countedVerify(&asked)}}, Destinations: toLoopback(t, frontOf(t, mirror))}
			s := front(t, f)
			t.Cleanup(f.CloseIdleConnections)
			u := mustParse(t, s.URL)
			cl := client(t)
			cl.Transport.(*http.Transport).Proxy = http.ProxyURL(u)
			if name == "https" {
				cl.Transport.(*http.Transport).TLSClientConfig = s.Client().Transport.(*http.Transport).TLSClientConfig
			}
			resp, err := cl.Get("http://a.test/x")
			require.NoError(t, err)
			require.Equal(t, 407, resp.StatusCode)
			_ = body(t, resp)
			u.User = url.UserPassword("alice", "pass:word")
			for range 3 {
				resp, err = cl.Post("http://a.test/x", "text/plain", strings.NewReader("body"))
				require.NoError(t, err)
				require.Contains(t, body(t, resp), "POST /x\nHost: a.test\n")
			}
			require.EqualValues(t, 1, asked.Load())
		})
	}
}

// TestForwardOverHTTP2: net/http does not tell what the client meant, unless
// nothing but an origin can be meant.
func TestForwardOverHTTP2(t *testing.T) {
	f := &Forward{Clients: everybody(), Destinations: toLoopback(t, frontOf(t, mirror))}
	t.Cleanup(f.CloseIdleConnections)
	at, cl := h2Front(t, f)
	req, _ := http.NewRequest("GET", at+"/x", nil)
	req.Host = "a.test"
	resp, err := cl.Do(req)
	require.NoError(t, err)
	require.Contains(t, body(t, resp), "GET /x\nHost: a.test\n")
	f2 := &Forward{Clients: everybody(), Next: http.NotFoundHandler()}
	at, cl = h2Front(t, f2)
	resp, err = cl.Get(at + "/x")
	require.NoError(t, err)
	require.Equal(t, 404, resp.StatusCode)
	_ = body(t, resp)
}

func TestForwardHooks(t *testing.T) {
	var log strings.Builder
	var records []exchange.Record
	_, at := forwardTo(t, mirror, func(f *Forward) {
		f.Via = ViaOff
		f.Forwarded = ForwardedApache
		f.Rewrite = func(pr *httputil.ProxyRequest) { pr.Out.Header.Set("X-Added", "1") }
		f.ModifyResponse = func(r *http.Response) error { r.Header.Set("X-Modified", "1"); return nil }
		f.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(exchange.StatusOf(err))
			fmt.Fprint(w, "mine")
		}
		f.OnRecord = func(_ *http.Request, rec *exchange.Record) { records = append(records, *rec) }
		f.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	got := exchangeRaw(t, at, once("GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n"))
	for _, want := range []string{"X-Added: 1", "X-Modified: 1", "X-Forwarded-For: 127.0.0.1"} {
		require.Contains(t, got, want)
	}
	require.NotContains(t, got, "Via")
	require.Contains(t, exchangeRaw(t, at, once("GET /x HTTP/1.1\r\nHost: a.test\r\n")), "mine")
	require.Len(t, records, 2)
	require.Equal(t, []int{200, 400}, []int{records[0].Status, records[1].Status})
	require.Contains(t, log.String(), "proxy: request refused")
}

// TestRewriteCannotLeaveTheRules: where a request goes in the end is checked.
func TestRewriteCannotLeaveTheRules(t *testing.T) {
	_, at := forwardTo(t, mirror, func(f *Forward) {
		f.Destinations.DenyHosts = []string{"bad.test"}
		f.Rewrite = func(pr *httputil.ProxyRequest) { pr.Out.URL.Host = "bad.test" }
	})
	require.Contains(t, exchangeRaw(t, at, once("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n")), "403 Forbidden")
}

// FuzzForwardTarget: whatever the target, the origin gets no line that the
// client's path could have ended, and no host that was not checked.
func FuzzForwardTarget(f *testing.F) {
	for _, s := range []string{"http://a.test/x", "http://a.test", "http://u@a.test/", "ftp://a", "http:a", "//a.test/", "http://a.test//b", "http://[::1]/", "http://a.test:/x", "https://a?b", "http://a.test/%0d%0aX: y", "http://a\"|/"} {
		f.Add(s)
	}
	var checked, got *url.URL
	var sent []byte
	fw := &Forward{Clients: everybody(), ServerName: "f.test", Transports: map[string]http.RoundTripper{"http": nil, "https": nil}}
	fw.Transports["http"] = roundTripFunc(func(r *http.Request) (*http.Response, error) {
		got = r.URL
		if err := exchange.CheckRequest(asWritten(r)); err != nil {
			return nil, err
		}
		sent = http1.AppendRequestHead(nil, asWritten(r), http1.FramingNone, http1.HeadOptions{})
		return byName("x").RoundTrip(r)
	})
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || strings.ContainsAny(target, " \r\n") {
			return
		}
		r := &http.Request{Method: "GET", URL: u, RequestURI: target, Host: u.Host, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: "127.0.0.1:1"}
		checked, got, sent = u, nil, nil
		w := httptest.NewRecorder()
		fw.ServeHTTP(w, r)
		if got == nil || w.Code != 200 {
			return
		}
		require.Equal(t, strings.TrimSuffix(checked.Host, ":"), got.Host)
		lines := strings.Split(string(sent), "\r\n")
		require.Len(t, strings.Split(lines[0], " "), 3, "%q", sent)
		require.True(t, strings.HasPrefix(lines[0], "GET /") || strings.HasPrefix(lines[0], "GET *"), "%q", sent)
		require.Equal(t, "Host: "+got.Host, lines[1])
	})
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// countedVerify knows one password, and counts how often it was asked.
func countedVerify(asked *atomic.Int32) func(context.Context, string, string) (bool, error) {
	return func(_ context.Context, user, password string) (bool, error) {
		asked.Add(1)
		return user == "alice" && password == "pass:word", nil
	}
}
