package proxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// told returns the request that a handler's backend gets for r.
func told(t *testing.T, h *Handler, r *http.Request) *http.Request {
	t.Helper()
	var got *http.Request
	h.Target = mustURL("http://back.test/")
	h.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
		got = r
		return &http.Response{StatusCode: 204, ProtoMajor: 1, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.NotNil(t, got, w.Body)
	return got
}

// TestFieldsOfStrangers: of what only a proxy in front may say, a client that is
// none can tell the backend nothing, in whatever spelling.
func TestFieldsOfStrangers(t *testing.T) {
	const strange = "X-Forwarded-Prefix X-Forwarded-Ssl X-Forwarded-Scheme X-Forwarded-Uri X-Forwarded-User X-Forwarded-Method " +
		"X-Forwarded-Port X-Forwarded-Server X-Forwarded-Client-Cert X-Forwarded-Groups X-Forwarded-By X-Forwarded X-Real-Ip Forwarded " +
		"x-forwarded-prefix x-real-ip"
	const twins = "X_Forwarded_For X_forwarded_proto x_forwarded_prefix X_Real_Ip X.Forwarded.For X_Forwarded-For X-Forwarded_Host " +
		"Content_Length Transfer_Encoding Content.Length Transfer-Encoding_ Proxy_Authorization Keep_Alive X_User User_Agent"
	trusted, err := prefixes("192.0.2.0/24") // httptest's client
	require.NoError(t, err)
	rewrite := func(r *httputil.ProxyRequest) { r.Out.Header.Set("X-User", "ann") }
	for name, tc := range map[string]struct {
		h             *Handler
		passes, twins string // those that pass
	}{
		"untrusted":        {h: &Handler{}, twins: "Transfer-Encoding_"},
		"RFC 7239":         {h: &Handler{ForwardedField: true}, passes: "Forwarded", twins: "Transfer-Encoding_"},
		"rewrite":          {h: &Handler{Rewrite: rewrite}, twins: "Transfer-Encoding_"},
		"trusted":          {h: &Handler{TrustedProxies: trusted}, passes: strange, twins: "Transfer-Encoding_"},
		"trusted, rewrite": {h: &Handler{TrustedProxies: trusted, Rewrite: rewrite}, passes: strange, twins: "Transfer-Encoding_"},
		"listed":           {h: &Handler{PassForwarded: []string{"x-forwarded-prefix", "X-Real-IP"}}, passes: "X-Forwarded-Prefix x-forwarded-prefix X-Real-Ip x-real-ip", twins: "Transfer-Encoding_"},
		"listed but set":   {h: &Handler{PassForwarded: []string{"X-Forwarded-For"}}, twins: "Transfer-Encoding_"},
		"listed twins":     {h: &Handler{PassForwarded: []string{"x_forwarded_proto", "X_User"}}, twins: "X_forwarded_proto X_User Transfer-Encoding_"},
		"off":              {h: &Handler{Forwarded: ForwardedOff}, passes: strange, twins: "Transfer-Encoding_"},
		"none":             {h: &Handler{Forwarded: ForwardedNone}, twins: "Transfer-Encoding_"},
		"none, trusted":    {h: &Handler{Forwarded: ForwardedNone, TrustedProxies: trusted}, passes: strange, twins: "Transfer-Encoding_"},
		"none, rewrite":    {h: &Handler{Forwarded: ForwardedNone, Rewrite: rewrite}, twins: "Transfer-Encoding_"},
		"append":           {h: &Handler{Forwarded: ForwardedAppend}, passes: strange, twins: "Transfer-Encoding_"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header = http.Header{"X-User": {"set by middleware"}, "User-Agent": {"u"}, "X_Other": {"kept"}, "X-Other": nil}
			for _, n := range strings.Fields(strange + " " + twins) {
				r.Header[n] = []string{"strange"}
			}
			r.Header["X-Forwarded-For"] = []string{"9.9.9.9"}
			got := told(t, tc.h, r)
			var passed []string
			for _, n := range strings.Fields(strange + " " + twins) {
				if got.Header[n] != nil {
					passed = append(passed, n)
				}
			}
			want := strings.Fields(tc.passes + " " + tc.twins)
			require.ElementsMatch(t, want, passed)
			if !tc.h.factsOf(r).Trusted && tc.h.Forwarded == ForwardedAuto {
				require.Equal(t, []string{"192.0.2.1"}, got.Header["X-Forwarded-For"])
			}
		})
	}
}

// TestConnectionOfTheClient: what it names passes no further, but for what is not
// the client's: the forwarding fields of a trusted proxy that has left it its
// Connection, and those that middleware has set.
func TestConnectionOfTheClient(t *testing.T) {
	const names = "X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Prefix X-Real-Ip Forwarded X-Other X_Other"
	trusted, err := prefixes("192.0.2.0/24")
	require.NoError(t, err)
	const set = "X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto"
	rewrite := func(*httputil.ProxyRequest) {}
	for name, tc := range map[string]struct {
		h      *Handler
		passed string
		client string // X-Forwarded-For
	}{
		"untrusted":        {&Handler{}, set, "192.0.2.1"},
		"listed":           {&Handler{PassForwarded: []string{"X-Forwarded-Prefix", "x-real-ip"}}, set + " X-Forwarded-Prefix X-Real-Ip", "192.0.2.1"},
		"listed, another":  {&Handler{PassForwarded: []string{"X_Other"}}, set + " X_Other", "192.0.2.1"},
		"trusted":          {&Handler{TrustedProxies: trusted}, set + " X-Forwarded-Prefix X-Real-Ip Forwarded", "a, 192.0.2.1"},
		"trusted, rewrite": {&Handler{TrustedProxies: trusted, Rewrite: rewrite}, set + " X-Forwarded-Prefix X-Real-Ip Forwarded", "a, 192.0.2.1"},
		"trusted, none":    {&Handler{TrustedProxies: trusted, Forwarded: ForwardedNone}, set + " X-Forwarded-Prefix X-Real-Ip Forwarded", "a"},
		"append":           {&Handler{Forwarded: ForwardedAppend}, set, "192.0.2.1"},
		"off":              {&Handler{Forwarded: ForwardedOff}, "", ""},
		"rewrite":          {&Handler{Rewrite: rewrite}, set, "192.0.2.1"},
	} {
		for _, connection := range [][]string{{"close, " + strings.ReplaceAll(names, " ", ", ")}, strings.Fields(strings.ToLower(names))} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			for _, n := range strings.Fields(names) {
				r.Header[n] = []string{"a"}
			}
			r.Header["Connection"] = connection
			got := told(t, tc.h, r)
			var passed []string
			for _, n := range strings.Fields(names) {
				if got.Header[n] != nil {
					passed = append(passed, n)
				}
			}
			require.ElementsMatch(t, strings.Fields(tc.passed), passed, name)
			require.Equal(t, tc.client, got.Header.Get("X-Forwarded-For"), name)
		}
	}
}

// TestCanonicalURLIsToldAlone: where the embedder knows better than the proxy in
// front, no field tells the backend what that has said.
func TestCanonicalURLIsToldAlone(t *testing.T) {
	trusted, err := prefixes("192.0.2.0/24")
	require.NoError(t, err)
	for _, field := range []bool{false, true} {
		for _, rewrite := range []func(*httputil.ProxyRequest){nil, func(*httputil.ProxyRequest) {}} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header = http.Header{"X-Forwarded-Host": {"in.test"}, "X-Forwarded-Proto": {"http"}, "Forwarded": {"for=192.0.2.9;proto=http;host=in.test"}}
			got := told(t, &Handler{TrustedProxies: trusted, ForwardedField: field, Rewrite: rewrite, CanonicalURL: mustURL("https://site.test:8443")}, r)
			require.Equal(t, []string{"https"}, got.Header["X-Forwarded-Proto"])
			require.Equal(t, []string{"site.test:8443"}, got.Header["X-Forwarded-Host"])
			if !field {
				require.Empty(t, got.Header["Forwarded"])
				continue
			}
			require.Equal(t, []string{`for=192.0.2.9;proto=http;host=in.test, for=192.0.2.1;proto=https;host="site.test:8443"`}, got.Header["Forwarded"])
		}
	}
	for _, mode := range []ForwardedMode{ForwardedApache, ForwardedOff} { // which leave alone what they do not add
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Forwarded", "for=1")
		got := told(t, &Handler{Forwarded: mode, CanonicalURL: mustURL("https://site.test")}, r)
		require.Equal(t, []string{"for=1"}, got.Header["Forwarded"])
	}
}

// TestZonesStayHere: what names an interface of this machine is told to nobody.
func TestZonesStayHere(t *testing.T) {
	for _, remote := range []string{"[fe80::1%eth0]:80", "[fe80::1%25eth0]:80", "fe80::1%eth0", "[fe80::1]:80", "fe80::1"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = remote
		got := told(t, &Handler{ForwardedField: true}, r)
		require.Equal(t, "fe80::1", got.Header.Get("X-Forwarded-For"), remote)
		require.Contains(t, got.Header.Get("Forwarded"), `for="[fe80::1]";`, remote)
	}
}

// TestTrailersOfClients: a trailer says nothing that decides about a request, nor
// what its header says.
func TestTrailersOfClients(t *testing.T) {
	const bad = "X-Forwarded-For Forwarded X-Real-Ip Authorization Proxy-Authorization Cookie Content-Type Content-Encoding Content-Range Via " +
		"X-User X_User x_forwarded_for Host Transfer-Encoding Content-Length If-None-Match If-Match Range Expect Cache-Control Max-Forwards " +
		"X-Set-By-Rewrite X_set_by_rewrite Te Connection Upgrade Trailer"
	const good = "Grpc-Status Grpc-Message X-Checksum Digest"
	for name, send := range map[string]string{"bad alone": bad, "good alone": good, "both": bad + " " + good} {
		for _, announced := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				o := newOrigin(t, func(c *originConn, _ int) {
					head, _ := c.head()
					for last := false; ; {
						line, err := c.r.ReadString('\n')
						if head += line; err != nil || last && line == "\r\n" {
							break
						}
						last = last || line == "0\r\n"
					}
					c.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(head), head))
				})
				h, _, _ := handlerFor(t, o.url())
				h.Rewrite = func(r *httputil.ProxyRequest) {
					r.SetURL(o.url())
					r.Out.Header.Set("X-User", "ann")
					r.Out.Header.Set("X-Set-By-Rewrite", "1")
				}
				raw := "POST / HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
				trailer := ""
				for _, n := range strings.Fields(send) {
					switch n { // which net/http refuses itself
					case "Transfer-Encoding", "Content-Length", "Trailer":
						if announced {
							continue
						}
					}
					trailer += n + ": root\r\n"
					if announced {
						raw += "Trailer: " + n + "\r\n"
					}
				}
				text := exchangeRaw(t, frontOf(t, h).Listener.Addr().String(), raw+"\r\n1\r\na\r\n0\r\n"+trailer+"\r\n")
				_, echo, ok := strings.Cut(text, "\r\n\r\n")
				require.True(t, ok, text)
				got := seen(t, echo)
				_ = body(t, &http.Response{Body: got.Body})
				want := 0
				if name != "bad alone" {
					want = len(strings.Fields(good))
				}
				require.Len(t, got.Trailer, want, echo)
				require.NotContains(t, echo, "\r\nTrailer: \r\n")
				require.NotContains(t, echo, "\r\nTrailer:\r\n")
				require.Equal(t, "ann", got.Header.Get("X-User"))
			})
		}
	}
}
