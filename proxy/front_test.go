package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// h2Front serves h over clear-text HTTP/2, and returns its URL and a client.
func h2Front(t *testing.T, h http.Handler) (string, *http.Client) {
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	tr := &http.Transport{Protocols: s.Config.Protocols, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return s.URL, &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// TestHTTP2Front: what a client of HTTP/2 gets of a backend of HTTP/1.
func TestHTTP2Front(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		for {
			r, b, ok := c.request()
			if !ok {
				return
			}
			switch r.URL.Path {
			case "/trailers":
				c.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nKeep-Alive: 3\r\n\r\n" +
					"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Said\r\n\r\n2\r\nab\r\n0\r\nSaid: " +
					r.Trailer.Get("Sum") + "\r\nUnsaid: " + b + "\r\n\r\n")
			case "/empty":
				c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nUnsaid: 1\r\n\r\n")
			case "/cut":
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
				return
			case "/reset-content":
				c.say("HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nab")
			case "/head":
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
			}
		}
	})
	h, _, rec := handlerFor(t, o.url())
	at, cl := h2Front(t, h)

	t.Run("interim and trailers", func(t *testing.T) {
		req, _ := http.NewRequest("PUT", at+"/trailers", struct{ io.Reader }{strings.NewReader("body")})
		req.Trailer = http.Header{"Sum": {"42"}}
		req.Header.Set("Te", "trailers")
		var hints []textproto.MIMEHeader
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, h)
			return nil
		}}
		resp, err := cl.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
		require.NoError(t, err)
		require.Equal(t, "ab", body(t, resp))
		require.Equal(t, "42", resp.Trailer.Get("Said"))
		require.Equal(t, "body", resp.Trailer.Get("Unsaid"))
		require.Len(t, hints, 1)
		require.Equal(t, textproto.MIMEHeader{"Link": {"</a>"}}, hints[0])
	})
	t.Run("trailers alone", func(t *testing.T) {
		resp, err := cl.Get(at + "/empty")
		require.NoError(t, err)
		require.Empty(t, body(t, resp))
		require.Equal(t, "1", resp.Trailer.Get("Unsaid"))
	})
	t.Run("cut", func(t *testing.T) {
		resp, err := cl.Get(at + "/cut")
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		require.Error(t, err)
		var e *exchange.Error
		require.ErrorAs(t, rec.last(t).Err, &e)
		require.Equal(t, exchange.OpBody, e.Op)
	})
	t.Run("205", func(t *testing.T) {
		resp, err := cl.Get(at + "/reset-content")
		require.NoError(t, err)
		require.Empty(t, body(t, resp))
	})
	t.Run("HEAD", func(t *testing.T) {
		resp, err := cl.Head(at + "/head")
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.EqualValues(t, 1234, resp.ContentLength)
	})
}

// TestHTTP2EarlyAnswerEndsAtOnce: nobody lingers for the rest of the body.
func TestHTTP2EarlyAnswerEndsAtOnce(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		c.head()
		c.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		c.untilClosed()
	})
	h, b, rec := handlerFor(t, o.url())
	b.Timeout = time.Minute
	at, cl := h2Front(t, h)
	require.Eventually(t, func() bool { // one in several, on a busy machine
		pr, pw := io.Pipe()
		defer pw.Close()
		req, _ := http.NewRequest("POST", at, pr)
		resp, err := cl.Do(req)
		require.NoError(t, err)
		require.Equal(t, "no", body(t, resp))
		return rec.last(t).Duration < lingerTime
	}, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return b.Stats().Open == 0 }, 10*time.Second, time.Millisecond)
}

// TestHTTP10Upgrade: a client of HTTP/1.0 cannot switch protocols (RFC 9110
// section 7.8).
func TestHTTP10Upgrade(t *testing.T) {
	o := echoOrigin(t)
	h, _, _ := handlerFor(t, o.url())
	got := exchangeRaw(t, frontOf(t, h).Listener.Addr().String(), "GET / HTTP/1.0\r\nHost: f\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, text, _ := strings.Cut(got, "\r\n\r\n")
	require.Empty(t, seen(t, text).Header.Get("Upgrade"))
}

// TestModifyResponseOfUpgrade: one that fails, or panics, leaves no connection
// behind.
func TestModifyResponseOfUpgrade(t *testing.T) {
	for name, modify := range map[string]func(*http.Response) error{
		"fails":  func(*http.Response) error { return errors.New("no") },
		"panics": func(*http.Response) error { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			o := switching(t, "websocket")
			h, b, _ := handlerFor(t, o.url())
			h.ModifyResponse = modify
			_ = exchangeRaw(t, frontOf(t, h).Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: f\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\r\n")
			require.Eventually(t, func() bool { return b.Stats().Open == 0 }, 10*time.Second, time.Millisecond)
		})
	}
}

// TestAnswerLongerThanItsHead: a length that ModifyResponse left wrong is no
// client that left.
func TestAnswerLongerThanItsHead(t *testing.T) {
	o := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")
	h, _, rec := handlerFor(t, o.url())
	h.ModifyResponse = func(r *http.Response) error {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(strings.NewReader("more"), r.Body), r.Body}
		return nil
	}
	resp, err := client(t).Get(frontOf(t, h).URL)
	if err == nil {
		_ = resp.Body.Close()
	}
	r := rec.last(t)
	require.ErrorIs(t, r.Err, http.ErrContentLength)
	require.NotErrorIs(t, r.Err, exchange.ErrClientGone)
	var e *exchange.Error
	require.ErrorAs(t, r.Err, &e)
	require.Equal(t, exchange.OpBody, e.Op)
}

// TestFront: what a trusted proxy says of its client is told on, and stands in
// Location.
func TestFront(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's client
	for name, tc := range map[string]struct {
		trusted      []netip.Prefix
		proto, host  []string
		scheme, says string
	}{
		"nobody":         {nil, []string{"https"}, []string{"a.test"}, "http", "example.com"},
		"trusted":        {trusted, []string{"HTTPS"}, []string{"a.test:8443"}, "https", "a.test:8443"},
		"nothing said":   {trusted, nil, nil, "http", "example.com"},
		"lists":          {trusted, []string{"https, http"}, []string{"a.test, b.test"}, "http", "b.test"},
		"two fields":     {trusted, []string{"https", "http"}, []string{"a.test", "b.test"}, "http", "b.test"},
		"no such things": {trusted, []string{"javascript"}, []string{"a b"}, "http", "example.com"},
		"empty":          {trusted, []string{""}, []string{""}, "http", "example.com"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["X-Forwarded-Proto"], r.Header["X-Forwarded-Host"] = tc.proto, tc.host
		f := exchange.FactsOf(r, tc.trusted)
		scheme, host := f.Scheme, f.Host
		require.Equal(t, [2]string{tc.scheme, tc.says}, [2]string{scheme, host}, name)
		h := &Handler{Target: mustURL("http://back.test/"), TrustedProxies: tc.trusted, ForwardedField: true, Reverse: []ReverseRule{{Path: "/", URL: "http://back.test/"}}}
		var forwarded string
		h.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
			forwarded = r.Header.Get("Forwarded")
			return &http.Response{StatusCode: 302, ProtoMajor: 1, Header: http.Header{"Location": {"http://back.test/x"}}, Body: http.NoBody, Request: r}, nil
		})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, scheme+"://"+host+"/x", w.Header().Get("Location"), name)
		require.Contains(t, strings.ReplaceAll(forwarded, `"`, ""), "proto="+scheme+";host="+host, name)
	}
}
