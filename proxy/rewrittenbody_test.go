package proxy_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	netfcgi "net/http/fcgi"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// countedBody counts how often it is closed.
type countedBody struct {
	io.Reader
	closes atomic.Int32
}

func (c *countedBody) Close() error {
	c.closes.Add(1)
	return nil
}

func newCountedBody(s string) *countedBody { return &countedBody{Reader: strings.NewReader(s)} }

// speakers are backends of each protocol that serve next, and transports for them.
func speakers(t *testing.T, next http.Handler) map[string]*proxy.Handler {
	t.Helper()
	http1 := httptest.NewServer(next)
	t.Cleanup(http1.Close)
	http2 := httptest.NewUnstartedServer(next)
	http2.Config.Protocols = new(http.Protocols)
	http2.Config.Protocols.SetUnencryptedHTTP2(true)
	http2.Start()
	t.Cleanup(http2.Close)
	script, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan struct{})
	go func() { _ = netfcgi.Serve(script, next); close(served) }()
	t.Cleanup(func() { _ = script.Close(); <-served })
	servlet, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	container := &ajp.Server{Handler: next}
	stopped := make(chan struct{})
	go func() { _ = container.Serve(servlet); close(stopped) }()
	t.Cleanup(func() { _ = container.Close(); <-stopped })
	std := &http.Transport{}
	at := func(scheme, addr string) *url.URL { return &url.URL{Scheme: scheme, Host: addr, Path: "/"} }
	all := map[string]*proxy.Handler{
		"http1":    {Target: at("http", http1.Listener.Addr().String()), Transport: new(proxy.Transport)},
		"h2c":      {Target: at("h2c", http2.Listener.Addr().String()), Transport: new(proxy.Transport)},
		"fcgi":     {Target: at("fcgi", script.Addr().String()), Transport: new(fcgi.Transport)},
		"ajp":      {Target: at("ajp", servlet.Addr().String()), Transport: new(ajp.Transport)},
		"net/http": {Target: at("http", http1.Listener.Addr().String()), Transport: std},
	}
	t.Cleanup(func() {
		for _, h := range all {
			h.CloseIdleConnections()
		}
	})
	return all
}

// TestBodyThatRewritePutIn: one that is not as long as ContentLength says is the
// error of whoever put it in, and no backend takes a part for the whole; each body
// is closed once, on every way out.
func TestBodyThatRewritePutIn(t *testing.T) {
	var whole atomic.Int32
	backends := speakers(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		whole.Add(1)
		_, _ = w.Write(b)
	}))
	for protocol := range backends {
		for name, tc := range map[string]struct {
			put    *countedBody
			length int64
			status int
		}{
			"as it was": {nil, 0, 200},
			"same":      {newCountedBody("12345"), 5, 200},
			"other":     {newCountedBody("123"), 3, 200},
			"unknown":   {newCountedBody("123"), -1, 200},
			"longer":    {newCountedBody("1234567"), 5, 500},
			"shorter":   {newCountedBody("123"), 5, 500},
			"empty":     {newCountedBody(""), 5, 500},
			"length":    {nil, 4, 500},
			"refused":   {newCountedBody("12345"), 5, 400},
			"panics":    {newCountedBody("12345"), 5, 0},
		} {
			t.Run(protocol+"/"+name, func(t *testing.T) {
				whole.Store(0)
				b := backends[protocol]
				var failed []error
				h := &proxy.Handler{Target: b.Target, Transport: b.Transport}
				h.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
					failed = append(failed, err)
					w.WriteHeader(exchange.StatusOf(err))
				}
				h.Rewrite = func(pr *httputil.ProxyRequest) {
					if tc.put != nil {
						pr.Out.Body = tc.put
					}
					if tc.length != 0 {
						pr.Out.ContentLength = tc.length
					}
					switch name {
					case "refused":
						pr.Out.Host = "a b"
					case "panics":
						panic("Rewrite")
					}
				}
				client := newCountedBody("hello")
				r := httptest.NewRequest("POST", "/", client)
				r.ContentLength = 5
				w := httptest.NewRecorder()
				if tc.status == 0 {
					require.PanicsWithValue(t, "Rewrite", func() { h.ServeHTTP(w, r) })
				} else {
					h.ServeHTTP(w, r)
					require.Equal(t, tc.status, w.Code)
				}
				if tc.status == 200 {
					require.Empty(t, failed)
					if protocol != "fcgi" || name != "unknown" { // net/http/fcgi does not tell where such a body ends
						require.EqualValues(t, 1, whole.Load())
					}
				} else {
					require.Zero(t, whole.Load(), "the backend took a part for the whole")
				}
				if tc.status == 500 {
					var e *exchange.Error
					require.Len(t, failed, 1)
					require.ErrorAs(t, failed[0], &e)
					require.Equal(t, exchange.OpRequest, e.Op)
					require.ErrorContains(t, e, "Rewrite")
				}
				require.EqualValues(t, 1, client.closes.Load(), "the client's")
				if tc.put != nil {
					require.EqualValues(t, 1, tc.put.closes.Load(), "the one that was put in")
				}
			})
		}
	}
}

// TestClientsBodyIsClosedOnce, whatever becomes of its request.
func TestClientsBodyIsClosedOnce(t *testing.T) {
	answer := func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	}
	for name, trip := range map[string]func(*http.Request) (*http.Response, error){
		"refused": nil,
		"fails":   func(*http.Request) (*http.Response, error) { return nil, errors.New("no") },
		"panics":  func(*http.Request) (*http.Response, error) { panic("transport") },
		"unread":  answer,
		"read":    func(r *http.Request) (*http.Response, error) { _, _ = io.ReadAll(r.Body); return answer(r) },
		"closed":  func(r *http.Request) (*http.Response, error) { _ = r.Body.Close(); return answer(r) },
		"repeated": func(r *http.Request) (*http.Response, error) {
			_ = r.Body.Close()
			r.Body, _ = r.GetBody()
			_ = r.Body.Close()
			return answer(r)
		},
	} {
		for _, version := range []int{1, 2} {
			h := &proxy.Handler{Target: &url.URL{Scheme: "http", Host: "b.test", Path: "/"}, Transport: roundTrips(trip)}
			if trip == nil {
				h.Prefix = "/elsewhere/"
			}
			body := newCountedBody("hello")
			r := httptest.NewRequest("POST", "/", body)
			r.ContentLength, r.ProtoMajor = 5, version
			func() {
				defer func() { _ = recover() }()
				h.ServeHTTP(httptest.NewRecorder(), r)
			}()
			require.EqualValues(t, 1, body.closes.Load(), "%s, HTTP/%d", name, version)
		}
	}
}

type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestLengthsThatModifyResponseLeft: where they differ, it is an error that says
// whose it is: to ErrorHandler if it can be seen in the head, else a cut.
func TestLengthsThatModifyResponseLeft(t *testing.T) {
	field := func(resp *http.Response, v ...string) { resp.Header["Content-Length"] = v }
	for name, tc := range map[string]struct {
		modify func(*http.Response, *countedBody)
		status int // of the answer; 0: it is cut
		text   string
	}{
		"nothing":        {func(*http.Response, *countedBody) {}, 200, "hello"},
		"body":           {func(r *http.Response, b *countedBody) { r.Body = b }, 0, "abc"},
		"longer body":    {func(r *http.Response, b *countedBody) { r.Body, b.Reader = b, strings.NewReader("longer") }, 0, ""},
		"all of them":    {func(r *http.Response, b *countedBody) { r.Body, r.ContentLength = b, 3; field(r, "3") }, 200, "abc"},
		"body and field": {func(r *http.Response, b *countedBody) { r.Body = b; field(r, "3") }, 200, "abc"},
		"same twice":     {func(r *http.Response, b *countedBody) { r.Body = b; field(r, "3", "3") }, 200, "abc"},
		"unknown": {func(r *http.Response, b *countedBody) {
			r.Body, r.ContentLength = b, -1
			delete(r.Header, "Content-Length")
		}, 200, "abc"},
		"no field":          {func(r *http.Response, b *countedBody) { r.Body = b; delete(r.Header, "Content-Length") }, 200, "abc"},
		"no body":           {func(r *http.Response, b *countedBody) { r.Body = nil }, 200, ""},
		"ContentLength":     {func(r *http.Response, _ *countedBody) { r.ContentLength = 3 }, 502, ""},
		"unknown and field": {func(r *http.Response, b *countedBody) { r.Body, r.ContentLength = b, -1 }, 502, ""},
		"field":             {func(r *http.Response, _ *countedBody) { field(r, "3") }, 502, ""},
		"two fields":        {func(r *http.Response, b *countedBody) { r.Body = b; field(r, "3", "4") }, 502, ""},
		"no number":         {func(r *http.Response, b *countedBody) { r.Body = b; field(r, "+3") }, 502, ""},
		"error":             {func(r *http.Response, b *countedBody) { r.Body = b; r.StatusCode = 0 }, 502, ""},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, status := range []int{200, 204, 304} {
				t.Run(name+"/"+method+"/"+http.StatusText(status), func(t *testing.T) {
					back, put := newCountedBody("hello"), newCountedBody("abc")
					var failed []error
					var record exchange.Record
					h := &proxy.Handler{
						Target: &url.URL{Scheme: "http", Host: "b.test", Path: "/"},
						Transport: roundTrips(func(r *http.Request) (*http.Response, error) {
							return &http.Response{StatusCode: status, Header: http.Header{"Content-Length": {"5"}, "Etag": {`"a"`}}, Body: back, ContentLength: 5, Request: r}, nil
						}),
						ModifyResponse: func(r *http.Response) error {
							tc.modify(r, put)
							if r.StatusCode == 0 {
								return errors.New("ModifyResponse says no")
							}
							return nil
						},
						ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
							failed = append(failed, err)
							w.WriteHeader(exchange.StatusOf(err))
						},
						OnRecord: func(_ *http.Request, rec *exchange.Record) { record = *rec },
					}
					w := httptest.NewRecorder()
					aborted := proxy.Aborts(h, w, httptest.NewRequest(method, "/", nil))
					content := method == "GET" && status == 200
					switch {
					case !content && name != "error":
						require.False(t, aborted)
						require.Equal(t, status, w.Code)
						require.Empty(t, w.Body.String())
					case tc.status == 0:
						require.True(t, aborted)
						require.ErrorContains(t, record.Err, "ModifyResponse")
						require.Equal(t, tc.text, w.Body.String())
					case tc.status == 502:
						require.Len(t, failed, 1)
						require.ErrorContains(t, failed[0], "ModifyResponse")
						require.Empty(t, w.Header()["Etag"], "nothing of the answer is left")
						fallthrough
					default:
						require.False(t, aborted)
						require.Equal(t, tc.status, w.Code)
						require.Equal(t, tc.text, w.Body.String())
					}
					require.EqualValues(t, 1, back.closes.Load(), "the backend's")
					if strings.Contains(name, "ContentLength") || name == "field" || name == "nothing" || name == "no body" {
						return
					}
					require.EqualValues(t, 1, put.closes.Load(), "the one that was put in")
				})
			}
		}
	}
}
