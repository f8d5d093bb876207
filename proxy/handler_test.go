package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// echoOrigin answers each request with its own head and body as text.
func echoOrigin(t *testing.T) *origin {
	return newOrigin(t, func(c *originConn, _ int) {
		for {
			head, ok := c.head()
			if !ok {
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), c.r)))
			if err != nil {
				return
			}
			b, _ := io.ReadAll(r.Body)
			text := head + string(b)
			c.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text))
			if r.TransferEncoding != nil {
				return // the reader above may have read too far
			}
		}
	})
}

// seen parses what an echoOrigin answered.
func seen(t *testing.T, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	require.NoError(t, err, text)
	if r.Header.Get("Connection") == "keep-alive" {
		delete(r.Header, "Connection") // what the transport says on a new connection
	}
	return r
}

func TestHopByHopFieldsOfRequest(t *testing.T) {
	o := echoOrigin(t)
	h, _, _ := handlerFor(t, o.url())
	front := frontOf(t, h)
	got := exchangeRaw(t, front.Listener.Addr().String(), "GET /x HTTP/1.1\r\nHost: front.test\r\n"+
		"Connection: close, X-Named, X-Forwarded-For, ,;\r\nX-Named: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n"+
		"Proxy-Authorization: secret\r\nTE: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"+
		"X-Under_score: y\r\nEmpty:\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n")
	_, text, ok := strings.Cut(got, "\r\n\r\n")
	require.True(t, ok, got)
	r := seen(t, text)
	require.Equal(t, http.Header{
		"X-Under_score":     {"y"},
		"Empty":             {""},
		"Cookie":            {"a=1", "b=2"},
		"X-Forwarded-For":   {"127.0.0.1"},
		"X-Forwarded-Host":  {"front.test"},
		"X-Forwarded-Proto": {"http"},
	}, r.Header)
	require.Equal(t, o.url().Host, r.Host)
}

// TestMovesOverFromHTTPUtil: the same Rewrite under both proxies makes the
// same request, but for what the doc comment names.
func TestMovesOverFromHTTPUtil(t *testing.T) {
	o := echoOrigin(t)
	base := *o.url()
	base.Path = "/base"
	rewrites := map[string]func(r *httputil.ProxyRequest){
		"SetURL":         func(r *httputil.ProxyRequest) { r.SetURL(&base) },
		"and XForwarded": func(r *httputil.ProxyRequest) { r.SetURL(&base); r.SetXForwarded() },
		"host kept":      func(r *httputil.ProxyRequest) { r.SetURL(&base); r.Out.Host = r.In.Host },
		"hop fields set": func(r *httputil.ProxyRequest) { r.SetURL(&base); r.Out.Header.Set("Te", "trailers") },
		"fields changed": func(r *httputil.ProxyRequest) { r.SetURL(&base); r.Out.Header["X-A"] = []string{"1", "2"} },
		"own user agent": func(r *httputil.ProxyRequest) { r.SetURL(&base); r.Out.Header.Set("User-Agent", "u") },
	}
	requests := []string{
		"GET / HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\n\r\n",
		"GET /a/b%2Fc?x=%20&y HTTP/1.1\r\nHost: front.test\r\nConnection: close, X-Gone\r\nX-Gone: 1\r\nX-Stays: 2\r\nTE: trailers, gzip\r\n\r\n",
		"POST /p HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
		"POST /p HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		"HEAD /h HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\n\r\n",
	}
	for name, rewrite := range rewrites {
		t.Run(name, func(t *testing.T) {
			std := &http.Transport{DisableCompression: true, DisableKeepAlives: false}
			defer std.CloseIdleConnections()
			theirs := frontOf(t, &httputil.ReverseProxy{Rewrite: rewrite, Transport: std})
			ours := frontOf(t, &Handler{Rewrite: rewrite, Transport: &Transport{Backend: testBackend(t, o.url())}})
			for _, request := range requests {
				var got [2]*http.Request
				for i, s := range []*httptest.Server{theirs, ours} {
					text := exchangeRaw(t, s.Listener.Addr().String(), request)
					head, echo, _ := strings.Cut(text, "\r\n\r\n")
					require.Contains(t, head, "200 OK", text)
					if strings.HasPrefix(request, "HEAD") {
						continue
					}
					got[i] = seen(t, echo)
					got[i].Header.Del("Connection")
				}
				if got[0] != nil {
					if got[0].Header["X-Forwarded-For"] == nil { // ours are set then
						for _, name := range rewriteSets {
							got[1].Header.Del(name)
						}
					}
					require.Equal(t, got[0].Header, got[1].Header, request)
					require.Equal(t, got[0].RequestURI, got[1].RequestURI)
					require.Equal(t, got[0].Host, got[1].Host)
					require.Equal(t, got[0].ContentLength, got[1].ContentLength)
				}
			}
		})
	}
}

func TestPreserveHost(t *testing.T) {
	o := echoOrigin(t)
	h, _, _ := handlerFor(t, o.url())
	h.PreserveHost = true
	front := frontOf(t, h)
	_, text, _ := strings.Cut(exchangeRaw(t, front.Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: front.test:81\r\nConnection: close\r\n\r\n"), "\r\n\r\n")
	require.Equal(t, "front.test:81", seen(t, text).Host)
	_, text, _ = strings.Cut(exchangeRaw(t, front.Listener.Addr().String(), "GET / HTTP/1.0\r\n\r\n"), "\r\n\r\n")
	require.Equal(t, o.url().Host, seen(t, text).Host, "a client without Host")
}

func TestInterimAnswersPassFiltered(t *testing.T) {
	o := answering(t, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-N\r\nX-N: 1\r\nKeep-Alive: 3\r\n\r\n"+
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-M\r\nX-M: 1\r\nX-Stays: 1\r\nKeep-Alive: 3\r\n\r\nab")
	h, _, _ := handlerFor(t, o.url())
	outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Outer", "kept")
		h.ServeHTTP(w, r)
	})
	addr := frontOf(t, outer).Listener.Addr().String()
	got := exchangeRaw(t, addr, "GET / HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n")
	interim, final, _ := strings.Cut(got, "\r\n\r\n")
	require.Equal(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>", interim)
	require.NotContains(t, final, "X-M")
	require.NotContains(t, final, "Keep-Alive")
	require.Contains(t, final, "X-Stays: 1\r\n")
	require.Contains(t, final, "X-Outer: kept\r\n", "what an outer handler has set")
	got = exchangeRaw(t, addr, "GET / HTTP/1.0\r\n\r\n")
	require.True(t, strings.HasPrefix(got, "HTTP/1.0 200 OK\r\n"), "a client of HTTP/1.0 gets no interim answer: %s", got)
}

func TestTrailersBothWays(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		r, _, ok := c.request()
		if !ok {
			return
		}
		c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T-Said\r\n\r\n2\r\nab\r\n0\r\nT-Said: " +
			r.Trailer.Get("Sum") + r.Trailer.Get("Unsaid") + "\r\nT-Unsaid: 2\r\nContent-Length: 3\r\nKeep-Alive: 1\r\n\r\n")
	})
	h, _, _ := handlerFor(t, o.url())
	got := exchangeRaw(t, frontOf(t, h).Listener.Addr().String(), "POST / HTTP/1.1\r\nHost: f\r\nConnection: close\r\nTE: trailers\r\n"+
		"Trailer: Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\nSum: 42\r\n\r\n")
	_, chunks, _ := strings.Cut(got, "\r\n\r\n")
	require.Contains(t, chunks, "2\r\nab\r\n0\r\n")
	require.Contains(t, chunks, "T-Said: 42\r\n")
	require.Contains(t, chunks, "T-Unsaid: 2\r\n")
	require.NotContains(t, chunks, "Content-Length")
	require.NotContains(t, chunks, "Keep-Alive")
}

func TestModifyResponse(t *testing.T) {
	o := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: 5\r\nX-A: 1\r\n\r\nab")
	h, b, rec := handlerFor(t, o.url())
	fail := errors.New("no")
	h.ModifyResponse = func(r *http.Response) error {
		if r.Request.URL.Path == "/fail" {
			return fail
		}
		if r.Header.Get("Keep-Alive") != "" {
			return errors.New("hop-by-hop field seen")
		}
		r.Header.Set("X-A", "2")
		return nil
	}
	front := frontOf(t, h)
	resp, err := client(t).Get(front.URL)
	require.NoError(t, err)
	require.Equal(t, "2", resp.Header.Get("X-A"))
	require.Equal(t, "ab", body(t, resp))
	resp, err = client(t).Get(front.URL + "/fail")
	require.NoError(t, err)
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	_ = resp.Body.Close()
	require.ErrorIs(t, rec.last(t).Err, fail)
	require.Zero(t, b.Stats().Busy)
}

func TestErrorHandlerSeesTypedErrors(t *testing.T) {
	o := answering(t, "nonsense\r\n\r\n")
	h, _, _ := handlerFor(t, o.url())
	h.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
		var e *exchange.Error
		if errors.As(err, &e) {
			http.Error(w, string(e.Op)+" "+e.Backend, http.StatusTeapot)
		}
	}
	resp, err := client(t).Get(frontOf(t, h).URL)
	require.NoError(t, err)
	require.Equal(t, http.StatusTeapot, resp.StatusCode)
	require.Equal(t, "header "+o.url().String()+"\n", body(t, resp))
}

func TestErrorOverride(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		for {
			r, _, ok := c.request()
			if !ok {
				return
			}
			c.say("HTTP/1.1 " + r.URL.Path[1:] + " <b>Odd</b>\r\nContent-Length: 4\r\nWWW-Authenticate: Basic\r\nX-Leak: 1\r\n\r\nbody")
		}
	})
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		_, _ = io.WriteString(w, "our page")
	})
	for name, tc := range map[string]struct {
		override *ErrorOverride
		code     int
		want     string
	}{
		"off":            {nil, 404, "body"},
		"on":             {&ErrorOverride{}, 404, "404 Not Found\n"},
		"on for 5xx":     {&ErrorOverride{}, 503, "503 Service Unavailable\n"},
		"3xx stays":      {&ErrorOverride{}, 302, "body"},
		"other code":     {&ErrorOverride{Codes: []int{500}}, 404, "body"},
		"listed code":    {&ErrorOverride{Codes: []int{500, 404}}, 404, "404 Not Found\n"},
		"own page":       {&ErrorOverride{Page: page}, 404, "our page"},
		"unauthorized":   {&ErrorOverride{}, 401, "401 Unauthorized\n"},
		"unknown number": {&ErrorOverride{}, 599, "599 Error\n"},
	} {
		t.Run(name, func(t *testing.T) {
			h, b, _ := handlerFor(t, o.url())
			h.ErrorOverride = tc.override
			resp, err := client(t).Get(frontOf(t, h).URL + fmt.Sprintf("/%d", tc.code))
			require.NoError(t, err)
			require.Equal(t, tc.code, resp.StatusCode)
			require.Equal(t, tc.want, body(t, resp))
			if tc.want != "body" {
				require.Empty(t, resp.Header.Get("X-Leak"))
				require.Equal(t, tc.code == 401, resp.Header.Get("Www-Authenticate") != "")
			}
			require.EqualValues(t, 1, b.Stats().Idle, "the connection is used again")
		})
	}
}

func TestHandlerWithoutTarget(t *testing.T) {
	w := httptest.NewRecorder()
	new(Handler).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, http.StatusInternalServerError, w.Code)
}

func TestReverseMapping(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		if r, _, ok := c.request(); ok {
			c.say("HTTP/1.1 302 Found\r\nLocation: http://" + r.Host + "/in/next\r\nSet-Cookie: a=b; Path=/in/; Domain=int.test\r\nContent-Length: 0\r\n\r\n")
		}
	})
	u := o.url()
	u.Path = "/in/"
	h, _, _ := handlerFor(t, u)
	h.Prefix = "/out/"
	h.Reverse = []ReverseRule{{Path: "/out/", URL: u.String()}}
	h.CookiePaths = []CookieRule{{Internal: "/in/", Public: "/out/"}}
	h.CookieDomains = []CookieRule{{Internal: "int.test", Public: "pub.test"}}
	req, _ := http.NewRequest("GET", frontOf(t, h).URL+"/out/x", nil)
	req.Host = "front.test"
	resp, err := client(t).Do(req)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, "http://front.test/out/next", resp.Header.Get("Location"))
	require.Equal(t, "a=b; Path=/out/; Domain=pub.test", resp.Header.Get("Set-Cookie"))
}

// TestReverseByTheNameSent: a backend calls itself by its address or by the Host
// that it was told, and a rule by either; not so where that is the client's.
func TestReverseByTheNameSent(t *testing.T) {
	for name, tc := range map[string]struct {
		rule, location, want string
		change               func(h *Handler)
	}{
		"rewritten Host":              {"http://10.0.0.1:81/in/", "http://app.internal/in/x", "http://front.test/out/x", func(h *Handler) { h.Rewrite = func(r *httputil.ProxyRequest) { r.Out.Host = "app.internal" } }},
		"rewritten Host, port":        {"http://10.0.0.1:81/in/", "http://app.internal:80/in/x", "http://front.test/out/x", func(h *Handler) { h.Rewrite = func(r *httputil.ProxyRequest) { r.Out.Host = "APP.internal" } }},
		"rewritten Host, path rule":   {"/in/", "http://app.internal/in/x", "http://front.test/out/x", func(h *Handler) { h.Rewrite = func(r *httputil.ProxyRequest) { r.Out.Host = "app.internal" } }},
		"a stranger's":                {"http://10.0.0.1:81/in/", "http://other.test/in/x", "http://other.test/in/x", func(h *Handler) { h.Rewrite = func(r *httputil.ProxyRequest) { r.Out.Host = "app.internal" } }},
		"the client's Host":           {"http://10.0.0.1:81/in/", "http://front.test/in/x", "http://front.test/in/x", func(h *Handler) { h.PreserveHost = true }},
		"the client's, by Rewrite":    {"http://10.0.0.1:81/in/", "http://front.test/in/x", "http://front.test/in/x", func(h *Handler) { h.Rewrite = func(r *httputil.ProxyRequest) { r.Out.Host = r.In.Host } }},
		"a rule by the name":          {"http://svc.test/in/", "http://svc.test/in/x", "http://front.test/out/x", discovered},
		"a rule by the name, address": {"http://svc.test/in/", "http://10.0.0.9:80/in/x", "http://front.test/out/x", discovered},
		"a balancer, by the name":     {"balancer://app/in/", "http://svc.test/in/x", "http://front.test/out/x", discovered},
		"a balancer, by the address":  {"balancer://app/in/", "http://10.0.0.9/in/x", "http://front.test/out/x", discovered},
		"a path rule, by the name":    {"/in/", "http://svc.test/in/x", "http://front.test/out/x", discovered},
		"another scheme":              {"http://svc.test/in/", "https://svc.test/in/x", "https://svc.test/in/x", discovered},
	} {
		h := &Handler{Target: mustURL("http://10.0.0.1:81/in/"), Prefix: "/out/", Reverse: []ReverseRule{{Path: "/out/", URL: tc.rule}}}
		location := tc.location
		h.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 302, ProtoMajor: 1, Header: http.Header{"Location": {location}}, Body: http.NoBody, Request: r}, nil
		})
		tc.change(h)
		r := httptest.NewRequest(http.MethodGet, "http://front.test/out/a", nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, tc.want, w.Header().Get("Location"), name)
	}
}

// discovered sends to a member as discovery makes them: at an address, told the
// name of the service.
func discovered(h *Handler) {
	next := h.Transport
	h.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
		out := r.Clone(r.Context())
		out.URL.Host, out.Host = "10.0.0.9:80", "svc.test"
		return next.RoundTrip(out)
	})
}

func TestClientThatLeaves(t *testing.T) {
	closed := make(chan struct{})
	arrived := make(chan struct{})
	o := newOrigin(t, func(c *originConn, _ int) {
		c.request()
		close(arrived)
		c.untilClosed()
		close(closed)
	})
	h, b, rec := handlerFor(t, o.url())
	front := frontOf(t, h)
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", front.URL, nil)
	go func() { <-arrived; cancel() }()
	_, err := client(t).Do(req)
	require.Error(t, err)
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Fatal("the backend's connection was not closed")
	}
	r := rec.last(t)
	require.Equal(t, exchange.StatusClientClosedRequest, r.Status)
	require.ErrorIs(t, r.Err, exchange.ErrClientGone)
	require.Zero(t, b.Stats().Errors, "the backend is not blamed")
}

func TestAbortHook(t *testing.T) {
	read := make(chan struct{})
	o := newOrigin(t, func(c *originConn, _ int) {
		c.request()
		c.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
		<-read
	})
	h, _, rec := handlerFor(t, o.url())
	aborted := make(chan error, 1)
	h.Abort = func(w http.ResponseWriter, r *http.Request, err error) {
		aborted <- err
		panic(http.ErrAbortHandler)
	}
	resp, err := client(t).Get(frontOf(t, h).URL)
	require.NoError(t, err)
	_, err = io.ReadFull(resp.Body, make([]byte, 2))
	require.NoError(t, err)
	close(read)
	_, err = io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_ = resp.Body.Close()
	var e *exchange.Error
	require.ErrorAs(t, <-aborted, &e)
	require.Equal(t, exchange.OpBody, e.Op)
	require.Equal(t, e, rec.last(t).Err)
}

func TestRecord(t *testing.T) {
	o := answering(t, "HTTP/1.1 404 Nope\r\nContent-Length: 2\r\n\r\nab")
	h, _, rec := handlerFor(t, o.url())
	front := frontOf(t, h)
	for range 2 {
		resp, err := client(t).Get(front.URL)
		require.NoError(t, err)
		_ = body(t, resp)
	}
	require.Eventually(t, func() bool { return len(rec.all()) == 2 }, 20*time.Second, time.Millisecond)
	for i, r := range rec.all() {
		require.Equal(t, o.url().String(), r.Backend)
		require.Equal(t, 1, r.Attempts)
		require.Equal(t, i == 1, r.Reused)
		require.Equal(t, 404, r.Status)
		require.Equal(t, 404, r.BackendStatus)
		require.EqualValues(t, 2, r.ResponseBytes)
		require.Positive(t, r.Connected)
		require.Greater(t, r.FirstByte, r.Connected)
		require.GreaterOrEqual(t, r.Duration, r.FirstByte)
	}
}

func TestPipeliningClient(t *testing.T) {
	o := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")
	h, _, _ := handlerFor(t, o.url())
	got := exchangeRaw(t, frontOf(t, h).Listener.Addr().String(),
		strings.Repeat("GET / HTTP/1.1\r\nHost: f\r\n\r\n", 3)+"GET / HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n")
	require.Equal(t, 4, strings.Count(got, "HTTP/1.1 200 OK\r\n"), got)
}

func TestResetContentHasNoBody(t *testing.T) {
	o := answering(t, "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nab")
	h, _, _ := handlerFor(t, o.url())
	resp, err := client(t).Get(frontOf(t, h).URL)
	require.NoError(t, err)
	require.Empty(t, body(t, resp))
}

func TestHeadKeepsLength(t *testing.T) {
	o := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
	h, b, _ := handlerFor(t, o.url())
	resp, err := client(t).Head(frontOf(t, h).URL)
	require.NoError(t, err)
	require.EqualValues(t, 1234, resp.ContentLength)
	require.EqualValues(t, 1, b.Stats().Idle)
}

func TestUnixSocket(t *testing.T) {
	path := t.TempDir() + "/s"
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host+r.URL.Path)
	})}}
	s.Start()
	defer s.Close()
	h, err := NewHandler("/u/", "unix:"+path+"|http://name/x/")
	require.NoError(t, err)
	defer h.own.CloseIdleConnections()
	defer h.own.Backend.Close()
	resp, err := client(t).Get(frontOf(t, h).URL + "/u/y")
	require.NoError(t, err)
	require.Equal(t, "name/x/y", body(t, resp))
}
