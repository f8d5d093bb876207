package proxy

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

func TestForwardedFields(t *testing.T) {
	sent := http.Header{"X-Forwarded-For": {"9.9.9.9"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=9.9.9.9"}}
	for name, tc := range map[string]struct {
		set  func(h *Handler)
		want http.Header
	}{
		"auto replaces": {func(*Handler) {}, http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"front.test"}, "X-Forwarded-Proto": {"http"}}},
		"trusted peer is added to": {func(h *Handler) { h.TrustedProxies, _ = prefixes("127.0.0.0/8") }, http.Header{
			"X-Forwarded-For": {"9.9.9.9, 127.0.0.1"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=9.9.9.9"}}},
		"other peers are not": {func(h *Handler) { h.TrustedProxies, _ = prefixes("10.0.0.0/8") }, http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"front.test"}, "X-Forwarded-Proto": {"http"}}},
		"append": {func(h *Handler) { h.Forwarded = ForwardedAppend }, http.Header{
			"X-Forwarded-For": {"9.9.9.9, 127.0.0.1"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=9.9.9.9"}}},
		"apache": {func(h *Handler) { h.Forwarded = ForwardedApache; h.ServerName = "proxy.test" }, http.Header{
			"X-Forwarded-For": {"9.9.9.9, 127.0.0.1"}, "X-Forwarded-Host": {"evil, front.test"}, "X-Forwarded-Server": {"proxy.test"},
			"X-Forwarded-Proto": {"https"}, "Forwarded": {"for=9.9.9.9"}, "Cdn-Loop": {"proxy.test"}}},
		"off": {func(h *Handler) { h.Forwarded = ForwardedOff }, sent},
		"RFC 7239": {func(h *Handler) { h.ForwardedField = true }, http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"front.test"}, "X-Forwarded-Proto": {"http"},
			"Forwarded": {"for=127.0.0.1;proto=http;host=front.test"}}},
		"none": {func(h *Handler) { h.Forwarded = ForwardedNone }, http.Header{}},
		"rewrite of something else": {func(h *Handler) {
			h.Rewrite = func(r *httputil.ProxyRequest) { r.Out.Header.Del("X-Forwarded-Host") }
		}, http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"front.test"}, "X-Forwarded-Proto": {"http"}}},
		"rewrite, trusted peer": {func(h *Handler) {
			h.TrustedProxies, _ = prefixes("127.0.0.0/8")
			h.Rewrite = func(*httputil.ProxyRequest) {}
		}, http.Header{
			"X-Forwarded-For": {"9.9.9.9, 127.0.0.1"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=9.9.9.9"}}},
		"rewrite keeps the client's": {func(h *Handler) {
			h.Rewrite = func(r *httputil.ProxyRequest) {
				r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
				r.SetXForwarded()
			}
		}, http.Header{"X-Forwarded-For": {"9.9.9.9, 127.0.0.1"}, "X-Forwarded-Host": {"front.test"}, "X-Forwarded-Proto": {"http"}}},
		"rewrite takes the header away": {func(h *Handler) {
			h.Rewrite = func(r *httputil.ProxyRequest) { r.Out.Header = nil }
		}, http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"front.test"}, "X-Forwarded-Proto": {"http"}}},
		"none, then rewrite": {func(h *Handler) {
			h.Forwarded = ForwardedNone
			h.Rewrite = func(*httputil.ProxyRequest) {}
		}, http.Header{}},
		"rewrite sets": {func(h *Handler) { h.Rewrite = func(r *httputil.ProxyRequest) { r.SetXForwarded() } }, http.Header{"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"front.test"}, "X-Forwarded-Proto": {"http"}}},
		"appended, then rewrite": {func(h *Handler) {
			h.Forwarded = ForwardedAppend
			h.Rewrite = func(r *httputil.ProxyRequest) { r.Out.Header.Del("X-Forwarded-Host") }
		}, http.Header{"X-Forwarded-For": {"9.9.9.9, 127.0.0.1"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=9.9.9.9"}}},
	} {
		t.Run(name, func(t *testing.T) {
			o := echoOrigin(t)
			h, _, _ := handlerFor(t, o.url())
			tc.set(h)
			front := frontOf(t, h)
			req, _ := http.NewRequest("GET", front.URL, nil)
			req.Host = "front.test"
			req.Header = sent.Clone()
			resp, err := client(t).Do(req)
			require.NoError(t, err)
			r := seen(t, body(t, resp))
			delete(r.Header, "User-Agent")
			require.Equal(t, tc.want, r.Header)
			require.Equal(t, "9.9.9.9", sent.Get("X-Forwarded-For"))
		})
	}
}

func TestVia(t *testing.T) {
	for name, tc := range map[string]struct {
		mode           ViaMode
		proto          string
		request, reply string
	}{
		"off":   {ViaOff, "1.1", "1.0 prev", "1.1 back"},
		"on":    {ViaOn, "1.0", "1.0 prev, 1.0 front.test", "1.1 back, 1.0 front.test"},
		"full":  {ViaFull, "1.1", "1.0 prev, 1.1 front.test (modproxy)", "1.1 back, 1.1 front.test (modproxy)"},
		"block": {ViaBlock, "1.1", "", "1.1 back"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, func(c *originConn, _ int) {
				if r, _, ok := c.request(); ok {
					c.say("HTTP/1.1 200 OK\r\nVia: 1.1 back\r\nGot: " + r.Header.Get("Via") + "\r\nContent-Length: 0\r\n\r\n")
				}
			})
			h, _, _ := handlerFor(t, o.url())
			h.Via, h.ServerName = tc.mode, "front.test"
			got := exchangeRaw(t, frontOf(t, h).Listener.Addr().String(), "GET / HTTP/"+tc.proto+"\r\nHost: x:99\r\nVia: 1.0 prev\r\nConnection: close\r\n\r\n")
			require.Contains(t, got, "\r\nVia: "+tc.reply+"\r\n")
			require.Contains(t, got, "\r\nGot: "+tc.request+"\r\n")
		})
	}
}

func TestLoopIsRefused(t *testing.T) {
	o := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	h, _, rec := handlerFor(t, o.url())
	h.ServerName = "front.test"
	req, _ := http.NewRequest("GET", frontOf(t, h).URL, nil)
	req.Header.Set("Via", "1.1 a, 1.1 FRONT.test (x), 1.1 b")
	resp, err := client(t).Do(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusLoopDetected, resp.StatusCode)
	_ = resp.Body.Close()
	require.ErrorIs(t, rec.last(t).Err, exchange.ErrLoop)
	require.Zero(t, o.connections())
}

func TestMaxForwards(t *testing.T) {
	o := echoOrigin(t)
	for name, tc := range map[string]struct {
		method, field string
		limit         int
		status        int
		forwarded     string // "-": not forwarded
	}{
		"none":              {"GET", "", 0, 200, ""},
		"added":             {"GET", "", 3, 200, "3"},
		"counted down":      {"GET", "5", 0, 200, "4"},
		"field wins":        {"GET", "5", 3, 200, "4"},
		"zero and GET":      {"GET", "0", 0, 200, "0"},
		"zero and OPTIONS":  {"OPTIONS", "0", 0, 200, "-"},
		"zero and TRACE":    {"TRACE", "0", 0, 200, "-"},
		"negative":          {"GET", "-1", 0, 400, "-"},
		"no number":         {"GET", "x", 0, 400, "-"},
		"too large":         {"GET", "99999999999999999999", 0, 400, "-"},
		"TRACE one further": {"TRACE", "1", 0, 200, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			h, b, _ := handlerFor(t, o.url())
			h.MaxForwards = tc.limit
			req, _ := http.NewRequest(tc.method, frontOf(t, h).URL+"/t", nil)
			if tc.field != "" {
				req.Header.Set("Max-Forwards", tc.field)
			}
			req.Header.Set("Cookie", "secret")
			resp, err := client(t).Do(req)
			require.NoError(t, err)
			text := body(t, resp)
			require.Equal(t, tc.status, resp.StatusCode)
			if tc.forwarded == "-" {
				require.Zero(t, b.Stats().Elected)
				if tc.method == "TRACE" {
					require.Equal(t, "message/http", resp.Header.Get("Content-Type"))
					require.True(t, strings.HasPrefix(text, "TRACE /t HTTP/1.1\r\n"), text)
					require.NotContains(t, text, "secret")
				}
				return
			}
			require.Equal(t, tc.forwarded, seen(t, text).Header.Get("Max-Forwards"))
		})
	}
}

// TestForwardedIsReadAsItWasMeant: whatever a client has as its Host, the next
// proxy reads in Forwarded who the client is, by which scheme and Host it has come.
func TestForwardedIsReadAsItWasMeant(t *testing.T) {
	office := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, host := range []string{
		"shop.test", "shop.test:8443", "[2001:db8::1]:8443", "a;proto=https;x", "a;for=10.9.9.9;x", "a,for=10.9.9.9", "a,for=10.9.9.9;proto=https", "a=b;c", "a;host=b;x", "a'b", "a;;", ",", ";proto=https",
	} {
		for _, remote := range []string{"192.0.2.7:1", "[2001:db8::7]:1", "192.0.2.7"} {
			var told http.Header
			h := &Handler{
				Target: mustParse(t, "http://b.test/"), ForwardedField: true,
				Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
					told = r.Header.Clone()
					return &http.Response{StatusCode: 204, ProtoMajor: 1, Body: http.NoBody, Header: http.Header{}}, nil
				}),
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host, r.RemoteAddr = host, remote
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, http.StatusNoContent, w.Code, host)

			next := httptest.NewRequest(http.MethodGet, "/", nil)
			next.Host, next.RemoteAddr = "in.test", "10.0.0.1:1"
			next.Header["Forwarded"] = told["Forwarded"]
			seen := false
			(&access.RemoteIP{Header: "Forwarded", TrustedProxies: office}).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, in *http.Request) {
				seen = true
				f := exchange.FactsOf(in, nil)
				known := exchange.FactsOf(r, nil)
				require.Equal(t, known.ClientIP(), f.ClientIP(), host)
				require.Equal(t, [2]string{"http", host}, [2]string{f.Scheme, f.Host})
				require.Empty(t, in.Header["Forwarded"], host)
			})).ServeHTTP(nil, next)
			require.True(t, seen)
		}
	}
}
