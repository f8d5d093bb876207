package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// told counts what hooks are told.
type told struct {
	first  func() // called with the first byte of an answer; may be nil
	mu     sync.Mutex
	events map[string]int
}

func (d *told) add(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.events == nil {
		d.events = make(map[string]int)
	}
	d.events[fmt.Sprintf(format, args...)]++
}

// take returns what was told since the last time.
func (d *told) take() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	events := d.events
	d.events = nil
	return events
}

func (d *told) has(event string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.events[event] > 0
}

// trace has all hooks that there are.
func (d *told) trace() *httptrace.ClientTrace {
	failed := func(err error) string {
		if err != nil {
			return " failed"
		}
		return ""
	}
	return &httptrace.ClientTrace{
		GetConn:     func(string) { d.add("GetConn") },
		GotConn:     func(i httptrace.GotConnInfo) { d.add("GotConn reused=%v idle=%v", i.Reused, i.WasIdle) },
		PutIdleConn: func(err error) { d.add("PutIdleConn%s", failed(err)) },
		GotFirstResponseByte: func() {
			d.add("FirstByte")
			if d.first != nil {
				d.first()
			}
		},
		Got100Continue:    func() { d.add("Got100") },
		Got1xxResponse:    func(code int, _ textproto.MIMEHeader) error { d.add("Got %d", code); return nil },
		DNSStart:          func(httptrace.DNSStartInfo) { d.add("DNSStart") },
		DNSDone:           func(httptrace.DNSDoneInfo) { d.add("DNSDone") },
		ConnectStart:      func(string, string) { d.add("ConnectStart") },
		ConnectDone:       func(_, _ string, err error) { d.add("ConnectDone%s", failed(err)) },
		TLSHandshakeStart: func() { d.add("TLSStart") },
		TLSHandshakeDone:  func(_ tls.ConnectionState, err error) { d.add("TLSDone%s", failed(err)) },
		WroteHeaderField: func(name string, _ []string) {
			if strings.EqualFold(name, "X-Asked") {
				d.add("Field")
			}
		},
		WroteHeaders:    func() { d.add("WroteHeaders") },
		Wait100Continue: func() { d.add("Wait100") },
		WroteRequest:    func(i httptrace.WroteRequestInfo) { d.add("WroteRequest%s", failed(i.Err)) },
	}
}

func events(list ...string) map[string]int {
	m := make(map[string]int)
	for _, e := range list {
		m[e]++
	}
	return m
}

// roundTrip is a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// inProcess serves requests by a handler. The hooks of a request are for its
// interim answers, as for those of any other transport.
func inProcess(h http.Handler) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		w := &finalOnly{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(w, r)
		return w.Result(), nil
	})
}

type finalOnly struct{ *httptest.ResponseRecorder }

func (w *finalOnly) WriteHeader(code int) {
	if code >= 200 {
		w.ResponseRecorder.WriteHeader(code)
	}
}

// places are where an embedder may put hooks: around the handler, in Rewrite of
// either request's context, in a transport between.
var places = map[string]func(d *told, h *proxy.Handler) http.Handler{
	"client": func(d *told, h *proxy.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r.WithContext(httptrace.WithClientTrace(r.Context(), d.trace())))
		})
	},
	"Rewrite": func(d *told, h *proxy.Handler) http.Handler {
		h.Rewrite = func(pr *httputil.ProxyRequest) {
			pr.Out = pr.Out.WithContext(httptrace.WithClientTrace(pr.Out.Context(), d.trace()))
		}
		return h
	},
	"Rewrite, of In": func(d *told, h *proxy.Handler) http.Handler {
		h.Rewrite = func(pr *httputil.ProxyRequest) {
			pr.Out = pr.Out.WithContext(httptrace.WithClientTrace(pr.In.Context(), d.trace()))
		}
		return h
	},
	"between": func(d *told, h *proxy.Handler) http.Handler {
		next := h.Transport
		h.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			return next.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), d.trace())))
		})
		return h
	},
	"everywhere, in an observer": func(d *told, h *proxy.Handler) http.Handler {
		others := make([]*told, 2)
		next := h.Transport
		h.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			return next.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), others[0].trace())))
		})
		h.Rewrite = func(pr *httputil.ProxyRequest) {
			pr.Out = pr.Out.WithContext(httptrace.WithClientTrace(pr.Out.Context(), others[1].trace()))
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			others[0], others[1] = new(told), new(told)
			(&proxy.Observer{Done: func(_ *http.Request, rec *exchange.Record) {
				all := []map[string]int{others[0].take(), others[1].take(), d.take()}
				if !maps.Equal(all[0], all[2]) || !maps.Equal(all[1], all[2]) {
					d.add("different %v", all)
				}
				for e, n := range all[2] {
					for range n {
						d.add("%s", e)
					}
				}
			}}).Wrap(h).ServeHTTP(w, r.WithContext(httptrace.WithClientTrace(r.Context(), d.trace())))
		})
	},
}

// between are what may stand between a Handler and a transport.
var between = map[string]func(t *testing.T, u *url.URL, rt http.RoundTripper) http.RoundTripper{
	"nothing": func(_ *testing.T, _ *url.URL, rt http.RoundTripper) http.RoundTripper { return rt },
	"balancer": func(t *testing.T, u *url.URL, rt http.RoundTripper) http.RoundTripper {
		b, err := balancer.New(balancer.Config{Name: "b"}, balancer.MemberConfig{URL: u.String(), RoundTripper: rt})
		require.NoError(t, err)
		t.Cleanup(func() { _ = b.Close() })
		return b
	},
	"cache": func(t *testing.T, u *url.URL, rt http.RoundTripper) http.RoundTripper {
		c := &cache.Cache{}
		t.Cleanup(c.Close)
		return c.Transport(rt)
	},
	"cache before a handler": func(t *testing.T, u *url.URL, rt http.RoundTripper) http.RoundTripper {
		c := &cache.Cache{}
		t.Cleanup(c.Close)
		return inProcess(c.Wrap(&proxy.Handler{Target: u, Transport: rt}))
	},
	"one handler": func(t *testing.T, u *url.URL, rt http.RoundTripper) http.RoundTripper {
		return inProcess(&proxy.Handler{Target: u, Transport: rt})
	},
	"two handlers": func(t *testing.T, u *url.URL, rt http.RoundTripper) http.RoundTripper {
		return inProcess(&proxy.Handler{Target: u, Transport: inProcess(&proxy.Handler{Target: u, Transport: rt})})
	},
}

// TestHooks: every hook of an embedder is told what happens, once, over every
// protocol, wherever it was set, and whatever stands between.
func TestHooks(t *testing.T) {
	for protocol, w := range wires {
		for what, stand := range between {
			for place, put := range places {
				t.Run(protocol+", "+what+", "+place, func(t *testing.T) {
					u, rt, _ := w.open(t)
					d := &told{}
					front := httptest.NewServer(put(d, &proxy.Handler{Target: u, Transport: stand(t, u, rt)}))
					defer front.Close()
					for i, tc := range []struct {
						path, body string
					}{{"/x", ""}, {"/hint", ""}, {"/x", "some text"}, {"/hint", strings.Repeat("x", 100_000)}} {
						interim := 0
						ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
							interim++
							return nil
						}})
						r, err := http.NewRequestWithContext(ctx, "GET", front.URL+tc.path, nil)
						require.NoError(t, err)
						if tc.body != "" {
							r, err = http.NewRequestWithContext(ctx, "POST", front.URL+tc.path, strings.NewReader(tc.body))
							require.NoError(t, err)
						}
						r.Header.Set("X-Asked", "1")
						resp, err := front.Client().Do(r)
						require.NoError(t, err)
						got, err := io.ReadAll(resp.Body)
						require.NoError(t, err)
						_ = resp.Body.Close()
						require.Equal(t, fmt.Sprintf("%d bytes", len(tc.body)), string(got))
						want := w.expected(i > 0, tc.body != "", tc.path == "/hint")
						require.Equal(t, want, d.take(), "request %d", i)
						if tc.path == "/hint" && w.interim && !strings.Contains(what, "handler") {
							require.Equal(t, 1, interim, "interim answers to the client")
						}
					}
				})
			}
		}
	}
}

// TestHooksOfNames: looking up a name is told, too.
func TestHooksOfNames(t *testing.T) {
	u, rt, b := wires["http"].open(t)
	b.URL = &url.URL{Scheme: "http", Host: "localhost:" + u.Port()}
	d := &told{}
	front := httptest.NewServer(places["client"](d, &proxy.Handler{Target: u, Transport: rt}))
	defer front.Close()
	resp, err := front.Client().Get(front.URL)
	require.NoError(t, err)
	_ = resp.Body.Close()
	got := d.take()
	require.Equal(t, 1, got["DNSStart"])
	require.Equal(t, 1, got["DNSDone"])
	require.Equal(t, got["ConnectStart"], got["ConnectDone"]+got["ConnectDone failed"])
}

// TestHooksOfExpect: a body that waits for a 100 is told of once it was sent.
func TestHooksOfExpect(t *testing.T) {
	for protocol, w := range wires {
		if !w.interim || protocol == "ajp" {
			continue // these do not hold the body back
		}
		t.Run(protocol, func(t *testing.T) {
			u, rt, _ := w.open(t)
			d := &told{}
			r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), d.trace()), "POST", u.String(), strings.NewReader("body"))
			require.NoError(t, err)
			r.Header.Set("Expect", "100-continue")
			r.Header.Set("X-Asked", "1")
			resp, err := rt.RoundTrip(r)
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			want := w.expected(false, true, false)
			maps.Copy(want, events("Wait100", "Got100", "Got 100"))
			require.Equal(t, want, d.take())
		})
	}
}

// TestHooksOfFailover: each member that is tried is told of.
func TestHooksOfFailover(t *testing.T) {
	u, rt, _ := wires["http"].open(t)
	l := listen(t)
	require.NoError(t, l.Close()) // nobody is there
	dead := "http://" + l.Addr().String()
	b, err := balancer.New(balancer.Config{Name: "b"}, balancer.MemberConfig{URL: dead, LoadFactor: 100}, balancer.MemberConfig{URL: u.String(), RoundTripper: rt})
	require.NoError(t, err)
	defer b.Close()
	d := &told{}
	front := httptest.NewServer(places["client"](d, &proxy.Handler{Target: u, Transport: b}))
	defer front.Close()
	r, _ := http.NewRequest("GET", front.URL, nil)
	r.Header.Set("X-Asked", "1")
	resp, err := front.Client().Do(r)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	want := wires["http"].expected(false, false, false)
	maps.Copy(want, map[string]int{"GetConn": 2, "ConnectStart": 2, "ConnectDone failed": 1})
	require.Equal(t, want, d.take())
}

// TestHookRefusesInterim: the error of Got1xxResponse ends the exchange, which is
// not tried again, is no fault of the backend, and leaves nothing.
func TestHookRefusesInterim(t *testing.T) {
	refused := errors.New("no hints")
	for protocol, w := range wires {
		if !w.interim {
			continue
		}
		for _, place := range []string{"client", "Rewrite", "Rewrite, of In", "alone"} {
			t.Run(protocol+", "+place, func(t *testing.T) {
				u, rt, b := w.open(t)
				var mu sync.Mutex
				asked := 0
				trace := func() *httptrace.ClientTrace {
					return &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
						mu.Lock()
						defer mu.Unlock()
						asked++
						return refused
					}}
				}
				var failed error
				switch place {
				case "alone":
					r, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace()), "GET", u.String()+"/hint", nil)
					_, failed = rt.RoundTrip(r)
				default:
					h := &proxy.Handler{Target: u, Transport: rt, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
						failed = err
						w.WriteHeader(exchange.StatusOf(err))
					}}
					ctx := context.Background()
					switch place {
					case "client":
						ctx = httptrace.WithClientTrace(ctx, trace())
					case "Rewrite":
						h.Rewrite = func(pr *httputil.ProxyRequest) {
							pr.Out = pr.Out.WithContext(httptrace.WithClientTrace(pr.Out.Context(), trace()))
						}
					default:
						h.Rewrite = func(pr *httputil.ProxyRequest) {
							pr.Out = pr.Out.WithContext(httptrace.WithClientTrace(pr.In.Context(), trace()))
						}
					}
					rec := httptest.NewRecorder()
					h.ServeHTTP(&finalOnly{ResponseRecorder: rec}, httptest.NewRequest("GET", "/hint", nil).WithContext(ctx))
					require.Equal(t, http.StatusBadGateway, rec.Code)
				}
				require.ErrorIs(t, failed, refused)
				require.False(t, exchange.MayResend(failed))
				require.Equal(t, 1, asked)
				require.True(t, b.Usable(time.Now()))
				require.Zero(t, b.Stats().Busy-boolToInt(w.streams), "but for HTTP/2's connection")
			})
		}
	}
}

func boolToInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// TestHooksOfBodies: of a body that cannot be sent, that is told.
func TestHooksOfBodies(t *testing.T) {
	broken := errors.New("the client has left")
	for protocol, w := range wires {
		for _, length := range []int64{-1, 1_000_000} {
			if length < 0 && protocol == "fcgi" {
				continue // it is read before anything is sent
			}
			t.Run(fmt.Sprint(protocol, length), func(t *testing.T) {
				u, rt, _ := w.open(t)
				d := &told{}
				pr, pw := io.Pipe()
				r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), d.trace()), "POST", u.String()+"/x", pr)
				require.NoError(t, err)
				r.ContentLength = length
				go func() {
					_, _ = pw.Write([]byte("some"))
					_ = pw.CloseWithError(broken)
				}()
				_, err = rt.RoundTrip(r)
				require.Error(t, err)
				require.Eventually(t, func() bool { return d.has("WroteRequest failed") }, 20*time.Second, time.Millisecond)
				require.Equal(t, 1, d.take()["WroteRequest failed"])
			})
		}
	}
}

// TestHooksOfForeignTransports: net/http's own transport finds a Handler's part,
// and that of the embedder, once each.
func TestHooksOfForeignTransports(t *testing.T) {
	for place, put := range places {
		t.Run(place, func(t *testing.T) {
			back := httptest.NewServer(answers)
			defer back.Close()
			u, _ := url.Parse(back.URL)
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			d := &told{}
			front := httptest.NewServer(put(d, &proxy.Handler{Target: u, Transport: tr}))
			defer front.Close()
			interim := 0
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
				interim++
				return nil
			}})
			r, _ := http.NewRequestWithContext(ctx, "GET", front.URL+"/hint", nil)
			resp, err := front.Client().Do(r)
			require.NoError(t, err)
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			require.Equal(t, 1, interim)
			got := d.take()
			for _, event := range []string{"GetConn", "GotConn reused=false idle=false", "Got 103", "FirstByte", "WroteHeaders"} {
				require.Equal(t, 1, got[event], event)
			}
		})
	}
}

// TestHooksOfPages: the page of an ErrorOverride may come of a Handler, and its
// interim answers are told and are none to the client.
func TestHooksOfPages(t *testing.T) {
	u, rt, _ := wires["http"].open(t)
	bad := httptest.NewServer(http.NotFoundHandler())
	defer bad.Close()
	target, _ := url.Parse(bad.URL)
	page := &proxy.Handler{Target: u, Transport: rt, Rewrite: func(pr *httputil.ProxyRequest) { pr.Out.URL.Path = "/hint" }}
	h := &proxy.Handler{Target: target, ErrorOverride: &proxy.ErrorOverride{Page: page}}
	defer h.CloseIdleConnections()
	for _, traced := range []bool{false, true} {
		d := &told{}
		front := httptest.NewServer(http.Handler(h))
		if traced {
			front.Config.Handler = places["client"](d, h)
		}
		resp, err := front.Client().Get(front.URL)
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		_ = resp.Body.Close()
		front.Close()
		require.Equal(t, 404, resp.StatusCode)
		require.Equal(t, "0 bytes", string(got))
		require.Empty(t, resp.Header["Link"][1:], "that of the page's own head")
		if traced {
			require.Equal(t, 1, d.take()["Got 103"])
		}
	}
}

// TestOneTraceSetTwice: hooks that are set around the handler and by Rewrite are
// told twice, and end no process.
func TestOneTraceSetTwice(t *testing.T) {
	u, rt, _ := wires["http"].open(t)
	d := &told{}
	trace := d.trace()
	h := &proxy.Handler{Target: u, Transport: rt, Rewrite: func(pr *httputil.ProxyRequest) {
		pr.Out = pr.Out.WithContext(httptrace.WithClientTrace(pr.Out.Context(), trace))
	}}
	h.ServeHTTP(&finalOnly{ResponseRecorder: httptest.NewRecorder()}, httptest.NewRequest("GET", "/hint", nil).WithContext(httptrace.WithClientTrace(t.Context(), trace)))
	require.Equal(t, 2, d.take()["Got 103"])
}

// TestPutIdleConn is told of connections that could be used again, and why one is
// not kept; where none is kept at all, of nothing.
func TestPutIdleConn(t *testing.T) {
	for name, tc := range map[string]struct {
		set    func(b *backend.Backend, d *told)
		answer string
		want   string
	}{
		"kept":          {func(*backend.Backend, *told) {}, "Content-Length: 2\r\n\r\nok", "PutIdleConn"},
		"no length":     {func(*backend.Backend, *told) {}, "Connection: close\r\n\r\nok", ""},
		"used once":     {func(b *backend.Backend, _ *told) { b.DisableReuse = true }, "Content-Length: 2\r\n\r\nok", ""},
		"none kept":     {func(b *backend.Backend, _ *told) { b.MaxIdle = -1 }, "Content-Length: 2\r\n\r\nok", ""},
		"no longer":     {func(b *backend.Backend, d *told) { d.first = b.Retire }, "Content-Length: 2\r\n\r\nok", "PutIdleConn failed"},
		"bytes behind":  {func(*backend.Backend, *told) {}, "Content-Length: 2\r\n\r\nokmore", "PutIdleConn failed"},
		"nothing there": {func(*backend.Backend, *told) {}, "Content-Length: 0\r\n\r\n", "PutIdleConn"},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = http.ReadRequest(bufio.NewReader(c))
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+tc.answer)
					if tc.want == "" {
						_ = c.(*net.TCPConn).CloseWrite()
					}
					_, _ = io.Copy(io.Discard, c)
					_ = c.Close()
				}
			}()
			b := &backend.Backend{URL: &url.URL{Scheme: "http", Host: l.Addr().String()}}
			defer b.Close()
			d := &told{}
			tc.set(b, d)
			r, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), d.trace()), "GET", b.URL.String(), nil)
			resp, err := (&proxy.Transport{Backend: b}).RoundTrip(r)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			_ = resp.Body.Close()
			got := d.take()
			for _, event := range []string{"PutIdleConn", "PutIdleConn failed"} {
				want := 0
				if event == tc.want {
					want = 1
				}
				require.Equal(t, want, got[event], event)
			}
		})
	}
}

// TestHooksCostNothingUnset: who sets none pays for none, also behind a balancer
// and in a handler within another.
func TestHooksCostNothingUnset(t *testing.T) {
	u, _ := url.Parse("http://backend.test")
	for _, what := range []string{"nothing", "balancer", "one handler", "two handlers"} {
		asked := 0
		h := &proxy.Handler{Target: u, Transport: between[what](t, u, roundTrip(func(r *http.Request) (*http.Response, error) {
			asked++
			require.Nil(t, exchange.HooksOf(r).Trace(), what)
			require.Zero(t, testing.AllocsPerRun(10, func() { exchange.HooksOf(r) }), what)
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		}))}
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		require.Equal(t, 1, asked, what)
	}
}
