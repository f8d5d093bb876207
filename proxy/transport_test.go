package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
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

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/http1"
)

// protocols are the ways to reach a net/http server.
var protocols = map[string]func(t *testing.T, h http.Handler) (*url.URL, *backend.Backend){
	"http": func(t *testing.T, h http.Handler) (*url.URL, *backend.Backend) {
		u := mustParse(t, frontOf(t, h).URL)
		return u, testBackend(t, u)
	},
	"https": func(t *testing.T, h http.Handler) (*url.URL, *backend.Backend) {
		return tlsBackend(t, h, "https", nil, nil)
	},
	"h2": func(t *testing.T, h http.Handler) (*url.URL, *backend.Backend) {
		return tlsBackend(t, h, "h2", []string{"h2"}, []string{"h2"})
	},
	"https that chooses h2": func(t *testing.T, h http.Handler) (*url.URL, *backend.Backend) {
		return tlsBackend(t, h, "https", []string{"h2", "http/1.1"}, []string{"h2", "http/1.1"})
	},
	"https that chooses http/1.1": func(t *testing.T, h http.Handler) (*url.URL, *backend.Backend) {
		return tlsBackend(t, h, "https", []string{"http/1.1"}, []string{"h2", "http/1.1"})
	},
	"h2c": func(t *testing.T, h http.Handler) (*url.URL, *backend.Backend) {
		s := httptest.NewUnstartedServer(h)
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
		t.Cleanup(s.Close)
		u := mustParse(t, s.URL)
		u.Scheme = "h2c"
		return u, testBackend(t, u)
	},
}

// tlsBackend starts a TLS server that speaks the protocols served, and returns
// a backend that offers others.
func tlsBackend(t *testing.T, h http.Handler, scheme string, served, offered []string) (*url.URL, *backend.Backend) {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = len(served) > 0 && served[0] == "h2"
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	u := mustParse(t, s.URL)
	u.Scheme = scheme
	b := testBackend(t, u)
	b.TLS = &tls.Config{RootCAs: roots, NextProtos: offered}
	return u, b
}

// TestEveryProtocol: the same requests over each protocol, by a Handler, by an
// http.Client and by the standard library's reverse proxy.
func TestEveryProtocol(t *testing.T) {
	back := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "Sum")
		w.Header().Set("X-Proto", r.Proto)
		w.Header().Set("X-Got-Trailer", r.Trailer.Get("Req"))
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(b)
		w.Header().Set("Sum", "42")
		w.Header().Set(http.TrailerPrefix+"Late", "43")
	})
	for protocol, start := range protocols {
		for _, face := range []string{"handler", "client", "httputil"} {
			t.Run(protocol+"/"+face, func(t *testing.T) {
				u, b := start(t, back)
				tr := &Transport{Backend: b}
				t.Cleanup(tr.CloseIdleConnections)
				var cl *http.Client
				at := u.String()
				switch face {
				case "client":
					cl = &http.Client{Transport: tr}
				case "handler":
					cl, at = client(t), frontOf(t, &Handler{Target: u, Transport: tr}).URL
				case "httputil":
					cl, at = client(t), frontOf(t, &httputil.ReverseProxy{Transport: tr, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}).URL
				}
				for range 3 {
					text := strings.Repeat("hello", 30000)
					req, _ := http.NewRequest("POST", at+"/p", struct{ io.Reader }{strings.NewReader(text)})
					req.Trailer = http.Header{"Req": {"7"}}
					resp, err := cl.Do(req)
					require.NoError(t, err)
					require.Equal(t, text, body(t, resp))
					require.Equal(t, http.StatusAccepted, resp.StatusCode)
					require.Equal(t, "42", resp.Trailer.Get("Sum"))
					require.Equal(t, "43", resp.Trailer.Get("Late"))
					if face != "httputil" { // it does not pass trailers of requests
						require.Equal(t, "7", resp.Header.Get("X-Got-Trailer"))
					}
					want := "HTTP/1.1"
					if strings.Contains(protocol, "h2") {
						want = "HTTP/2.0"
					}
					require.Equal(t, want, resp.Header.Get("X-Proto"))
					if want == "HTTP/1.1" {
						becomesIdle(t, b)
					}
				}
				require.EqualValues(t, 1, b.Stats().Created, "one connection is enough")
			})
		}
	}
}

// TestGRPCShape: what gRPC needs of HTTP/2: a stream both ways, headers before
// data, and an answer that is nothing but trailers.
func TestGRPCShape(t *testing.T) {
	u, b := protocols["h2c"](t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		if r.Header.Get("Te") != "trailers" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Trailer", "Grpc-Status")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path != "/none" {
			_, _ = io.Copy(writeFlusher{w}, r.Body)
		}
		w.Header().Set("Grpc-Status", "0")
	}))
	tr := &Transport{Backend: b}
	t.Cleanup(tr.CloseIdleConnections)
	front := httptest.NewUnstartedServer(&Handler{Target: u, Transport: tr})
	front.Config.Protocols = new(http.Protocols)
	front.Config.Protocols.SetUnencryptedHTTP2(true)
	front.Start()
	t.Cleanup(front.Close)
	h2c := &http.Transport{Protocols: front.Config.Protocols}
	t.Cleanup(h2c.CloseIdleConnections)
	cl := &http.Client{Transport: h2c, Timeout: 5 * time.Second}

	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", front.URL+"/stream", pr)
	req.Header.Set("Te", "trailers")
	resp, err := cl.Do(req)
	require.NoError(t, err, "the head comes before any message")
	for _, word := range []string{"one", "two"} {
		_, err = io.WriteString(pw, word)
		require.NoError(t, err)
		got := make([]byte, 3)
		_, err = io.ReadFull(resp.Body, got)
		require.NoError(t, err)
		require.Equal(t, word, string(got))
	}
	_ = pw.Close()
	require.Empty(t, body(t, resp))
	require.Equal(t, "0", resp.Trailer.Get("Grpc-Status"))

	req, _ = http.NewRequest("POST", front.URL+"/none", strings.NewReader(""))
	req.Header.Set("Te", "trailers")
	resp, err = cl.Do(req)
	require.NoError(t, err)
	require.Empty(t, body(t, resp))
	require.Equal(t, "0", resp.Trailer.Get("Grpc-Status"))
}

type writeFlusher struct{ w http.ResponseWriter }

func (f writeFlusher) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	_ = http.NewResponseController(f.w).Flush()
	return n, err
}

// TestHTTP2Faults: failures of a stream have the same words as those of
// HTTP/1.
func TestHTTP2Faults(t *testing.T) {
	hold := make(chan struct{})
	u, b := protocols["h2c"](t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stall":
			<-hold
		case "/cut":
			_, _ = io.WriteString(w, "ab")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/reset":
			panic(http.ErrAbortHandler)
		}
	}))
	b.Timeout = time.Second
	rec := &recorder{}
	tr := &Transport{Backend: b}
	t.Cleanup(tr.CloseIdleConnections)
	front := frontOf(t, &Handler{Target: u, Transport: tr, OnRecord: rec.add})
	t.Cleanup(func() { close(hold) })

	resp, err := client(t).Get(front.URL + "/stall")
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusGatewayTimeout, resp.StatusCode)

	resp, err = client(t).Post(front.URL+"/reset", "a/b", strings.NewReader("x"))
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Eventually(t, func() bool { return len(rec.all()) == 2 }, 20*time.Second, time.Millisecond)

	resp, err = client(t).Get(front.URL + "/cut")
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.Error(t, err)
	_ = resp.Body.Close()
	var e *exchange.Error
	require.Eventually(t, func() bool { return len(rec.all()) == 3 }, 20*time.Second, time.Millisecond)
	require.ErrorAs(t, rec.last(t).Err, &e)
	require.Equal(t, exchange.OpBody, e.Op)
	require.LessOrEqual(t, b.Stats().Created, int64(2))
}

func TestTransportHooks(t *testing.T) {
	o := answering(t, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	tr := &Transport{Backend: testBackend(t, o.url())}
	var got []string
	trace := &httptrace.ClientTrace{
		GotConn:              func(i httptrace.GotConnInfo) { got = append(got, "conn") },
		WroteRequest:         func(httptrace.WroteRequestInfo) { got = append(got, "wrote") },
		GotFirstResponseByte: func() { got = append(got, "first") },
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			got = append(got, h.Get("Link"))
			return nil
		},
	}
	req, _ := http.NewRequest("GET", o.url().String(), nil)
	resp, err := tr.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, []string{"conn", "wrote", "first", "x"}, got)

	trace.Got1xxResponse = func(int, textproto.MIMEHeader) error { return errors.New("stop") }
	_, err = tr.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	require.ErrorContains(t, err, "stop")
}

func TestTransportContext(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		c.request()
		c.untilClosed()
	})
	for name, limit := range map[string]time.Duration{"short": time.Millisecond, "long": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			b := testBackend(t, o.url())
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "GET", o.url().String(), nil)
			_, err := (&Transport{Backend: b}).RoundTrip(req)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, http.StatusGatewayTimeout, exchange.StatusOf(err))
			require.Zero(t, b.Stats().Open)
		})
	}
	t.Run("while dialling", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		b := testBackend(t, o.url())
		b.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		req, _ := http.NewRequestWithContext(ctx, "GET", o.url().String(), nil)
		_, err := (&Transport{Backend: b}).RoundTrip(req)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, http.StatusGatewayTimeout, exchange.StatusOf(err))
	})
	t.Run("cancelled before", func(t *testing.T) {
		b := testBackend(t, o.url())
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", o.url().String(), nil)
		_, err := (&Transport{Backend: b}).RoundTrip(req)
		require.ErrorIs(t, err, exchange.ErrClientGone)
	})
	t.Run("cancelled in the body", func(t *testing.T) {
		o := newOrigin(t, func(c *originConn, _ int) {
			c.request()
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab")
			c.untilClosed()
		})
		b := testBackend(t, o.url())
		ctx, cancel := context.WithCancel(context.Background())
		req, _ := http.NewRequestWithContext(ctx, "GET", o.url().String(), nil)
		resp, err := (&Transport{Backend: b}).RoundTrip(req)
		require.NoError(t, err)
		_, err = io.ReadFull(resp.Body, make([]byte, 2))
		require.NoError(t, err)
		time.AfterFunc(5*time.Millisecond, cancel)
		_, err = resp.Body.Read(make([]byte, 1))
		require.ErrorIs(t, err, exchange.ErrClientGone)
		require.Zero(t, b.Stats().Open)
		_ = resp.Body.Close()
	})
}

func TestTransportMakesBackends(t *testing.T) {
	one := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
	two := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")
	var mu sync.Mutex
	made := 0
	tr := &Transport{NewBackend: func(u *url.URL) *backend.Backend {
		mu.Lock()
		defer mu.Unlock()
		made++
		return &backend.Backend{URL: u}
	}}
	defer tr.CloseIdleConnections()
	for range 2 {
		for i, o := range []*origin{one, two} {
			resp, err := (&http.Client{Transport: tr}).Get(o.url().String())
			require.NoError(t, err)
			require.Equal(t, string(rune('1'+i)), body(t, resp))
		}
	}
	require.Equal(t, 2, made)
}

func TestLearntIdleTime(t *testing.T) {
	require.Equal(t, 4500*time.Millisecond, http1.KeepAliveTimeout("timeout=5, max=100"))
	require.Equal(t, 4500*time.Millisecond, http1.KeepAliveTimeout("max=100, Timeout=5"))
	for _, v := range []string{"", "timeout", "timeout=x", "timeout=-1", "timeout=99999999999"} {
		require.Zero(t, http1.KeepAliveTimeout(v), v)
	}
}

func TestBodyCloseIsSafe(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		for {
			r, _, ok := c.request()
			if !ok {
				return
			}
			if r.URL.Path == "/whole" {
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")
			} else {
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nab")
			}
		}
	})
	b := testBackend(t, o.url())
	tr := &Transport{Backend: b}
	get := func(path string) *http.Response {
		req, _ := http.NewRequest("GET", o.url().String()+path, nil)
		resp, err := tr.RoundTrip(req)
		require.NoError(t, err)
		return resp
	}
	resp := get("/whole")
	require.NoError(t, resp.Body.Close())
	require.NoError(t, resp.Body.Close())
	_, err := resp.Body.Read(make([]byte, 1))
	require.Error(t, err)
	require.EqualValues(t, 1, b.Stats().Idle, "a short rest that is here does not cost the connection")

	resp = get("/part")
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(resp.Body)
		done <- err
	}()
	<-time.After(10 * time.Millisecond)
	require.NoError(t, resp.Body.Close(), "closing while another goroutine reads")
	require.Error(t, <-done)
	require.Eventually(t, func() bool { return b.Stats().Open == 0 }, 20*time.Second, time.Millisecond)
}
