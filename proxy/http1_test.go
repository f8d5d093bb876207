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
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestExpectSurvivesHints: an interim answer that is no 100 leaves the body
// waiting, but not for ever.
func TestExpectSurvivesHints(t *testing.T) {
	for name, tr := range map[string]*Transport{"expect": {}, "ping": {Ping: 20 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, func(c *originConn, _ int) {
				c.head()
				c.say("HTTP/1.1 103 Early Hints\r\n\r\n")
				b := make([]byte, 5)
				_, _ = io.ReadFull(c.r, b)
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + string(b))
			})
			tr.Backend, tr.ExpectTimeout = testBackend(t, o.url()), 20*time.Millisecond
			tr.Backend.Timeout = time.Minute
			req, _ := http.NewRequest("POST", o.url().String(), strings.NewReader("hello"))
			req.Header.Set("Expect", "100-continue")
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			resp, err := tr.RoundTrip(req.WithContext(ctx))
			require.NoError(t, err)
			require.Equal(t, "hello", body(t, resp))
		})
	}
}

// TestRefusedExpectCostsTheConnection: a body that was announced and not sent
// leaves it unclear where the next request begins.
func TestRefusedExpectCostsTheConnection(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		c.head()
		c.say("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
		c.untilClosed()
	})
	h, b, _ := handlerFor(t, o.url())
	c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: f\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, 417, resp.StatusCode)
	require.True(t, resp.Close)
	require.Equal(t, "no", body(t, resp))
	_, err = r.ReadByte()
	require.ErrorIs(t, err, io.EOF, "and the client's connection is closed, too")
	require.Eventually(t, func() bool { return b.Stats().Open == 0 }, 10*time.Second, time.Millisecond)
}

// TestHintsMayBeKept: what a hook was given stays as it was.
func TestHintsMayBeKept(t *testing.T) {
	o := answering(t, "HTTP/1.1 103 Early Hints\r\nLink: one\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: two\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	var hints []textproto.MIMEHeader
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
		hints = append(hints, h)
		return nil
	}})
	req, _ := http.NewRequestWithContext(ctx, "GET", o.url().String(), nil)
	resp, err := (&Transport{Backend: testBackend(t, o.url())}).RoundTrip(req)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Len(t, hints, 2)
	require.Equal(t, "one", hints[0].Get("Link"))
	require.Equal(t, "two", hints[1].Get("Link"))
}

// TestFieldsInDisguise: names that the backend takes for ones that frame or
// route the message.
func TestFieldsInDisguise(t *testing.T) {
	o := echoOrigin(t)
	for _, name := range []string{"content-length", "transfer-encoding", "TRANSFER-ENCODING", "host", "connection"} {
		b := testBackend(t, o.url())
		req, _ := http.NewRequest("POST", o.url().String(), strings.NewReader("body"))
		req.Header[name] = []string{"1"}
		_, err := (&Transport{Backend: b}).RoundTrip(req)
		require.Equal(t, http.StatusBadRequest, exchange.StatusOf(err), name)
		require.Zero(t, b.Stats().Sent, name)
	}
}

// TestAnswerFieldsCannotSplit: whatever stands in the fields and the reason of
// an answer, the client gets no field more.
func TestAnswerFieldsCannotSplit(t *testing.T) {
	for name, answer := range map[string]string{
		"CR in the reason":       "HTTP/1.1 200 OK\rX-Evil: 1\r\nContent-Length: 0\r\n\r\n",
		"CR in a value":          "HTTP/1.1 200 OK\r\nA: b\rX-Evil: 1\r\nContent-Length: 0\r\n\r\n",
		"CR in a type":           "HTTP/1.1 200 OK\r\nContent-Type: a/b\rX-Evil: 1\r\nContent-Length: 0\r\n\r\n",
		"CR in a hint":           "HTTP/1.1 103 Early Hints\r\nLink: a\rX-Evil: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"DEL in a value":         "HTTP/1.1 200 OK\r\nA: b\x7fX-Evil: 1\r\nContent-Length: 0\r\n\r\n",
		"CR in a trailer's name": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA\rX-Evil: 1\r\n\r\n",
		"CR in a trailer":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\rX-Evil: 1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			o := answering(t, answer)
			h, b, rec := handlerFor(t, o.url())
			got := exchangeRaw(t, frontOf(t, h).Listener.Addr().String(), "GET / HTTP/1.1\r\nHost: f\r\nTE: trailers\r\nConnection: close\r\n\r\n")
			require.NotContains(t, got, "X-Evil")
			require.ErrorIs(t, rec.last(t).Err, exchange.ErrMalformed)
			require.Zero(t, b.Stats().Idle)
		})
	}
}

// TestCutWhileSpliced: a long body that is moved by the kernel and cut by the
// backend is the backend's fault.
func TestCutWhileSpliced(t *testing.T) {
	for name, cut := range map[string]func(c *originConn){"closed": func(*originConn) {}, "reset": (*originConn).reset} {
		t.Run(name, func(t *testing.T) {
			next := make(chan struct{})
			o := newOrigin(t, func(c *originConn, _ int) {
				c.request()
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n" + strings.Repeat("x", 1000000))
				<-next
				cut(c)
			})
			h, _, rec := handlerFor(t, o.url())
			resp, err := client(t).Get(frontOf(t, h).URL)
			require.NoError(t, err)
			_, err = io.CopyN(io.Discard, resp.Body, 1000000)
			require.NoError(t, err)
			close(next)
			_, err = io.ReadAll(resp.Body)
			require.Error(t, err)
			_ = resp.Body.Close()
			var e *exchange.Error
			require.ErrorAs(t, rec.last(t).Err, &e)
			require.Equal(t, exchange.OpBody, e.Op, "%v", e)
		})
	}
}

// TestClientTooSlowWhileSpliced: the time limit of the server on its client is
// not the backend's.
func TestClientTooSlowWhileSpliced(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		c.request()
		c.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		piece := make([]byte, 1<<20)
		for {
			if _, err := c.Write(piece); err != nil {
				return
			}
		}
	})
	h, b, rec := handlerFor(t, o.url())
	b.Timeout = time.Minute
	var failed atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&readFromFailures{w, &failed}, r)
	}))
	s.Config.WriteTimeout = 300 * time.Millisecond
	s.Start()
	t.Cleanup(s.Close)
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: f\r\n\r\n")
	require.Eventually(t, func() bool { return len(rec.all()) == 1 }, 20*time.Second, time.Millisecond)
	require.ErrorIs(t, rec.last(t).Err, exchange.ErrClientGone)
	require.LessOrEqual(t, failed.Load(), int32(1), "each further try throws bytes of the backend away")
	require.Zero(t, b.Stats().Open)
}

// readFromFailures counts the failures of ReadFrom.
type readFromFailures struct {
	http.ResponseWriter
	n *atomic.Int32
}

func (w *readFromFailures) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *readFromFailures) ReadFrom(r io.Reader) (int64, error) {
	n, err := w.ResponseWriter.(io.ReaderFrom).ReadFrom(r)
	if err != nil {
		w.n.Add(1)
	}
	return n, err
}

// TestFewBackendsAreRemembered: requests to ever new hosts do not fill the
// memory, and a backend in use is not forgotten.
func TestFewBackendsAreRemembered(t *testing.T) {
	o := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	made := 0
	tr := &Transport{NewBackend: func(u *url.URL) *backend.Backend {
		made++
		b := &backend.Backend{URL: u}
		if u.Host != o.url().Host {
			b.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("down") }
		}
		return b
	}}
	defer tr.CloseIdleConnections()
	get := func(host string) error {
		req, _ := http.NewRequest("GET", "http://"+host+"/", nil)
		resp, err := tr.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	require.NoError(t, get(o.url().Host))
	for i := range 2000 {
		require.Error(t, get(fmt.Sprintf("h%d.test", i)))
	}
	require.LessOrEqual(t, len(tr.Stats()), 256)
	require.NoError(t, get(o.url().Host))
	require.Equal(t, 2001, made)
}

// TestCloseIdleConnectionsSparesRequests: a request that has found its backend
// is served though the idle connections are closed at that moment.
func TestCloseIdleConnectionsSparesRequests(t *testing.T) {
	o := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	tr := &Transport{}
	defer tr.CloseIdleConnections()
	b, err := tr.backendFor(o.url())
	require.NoError(t, err)
	tr.CloseIdleConnections()
	req, _ := http.NewRequest("GET", o.url().String(), nil)
	resp, err := tr.roundTrip1(b, req)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Zero(t, b.Stats().Open, "and its connection is not kept")
}

// TestHandlerCloseIdleConnections: those of its own transport, be it to a host
// or a socket, and of one that was given to it.
func TestHandlerCloseIdleConnections(t *testing.T) {
	path := t.TempDir() + "/s"
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}
	s.Start()
	defer s.Close()
	o := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	given, err := NewHandler("/", o.url().String()+"/")
	require.NoError(t, err)
	b := testBackend(t, o.url())
	given.Transport = &Transport{NewBackend: func(*url.URL) *backend.Backend { return b }}
	for name, make := range map[string]func() (*Handler, *backend.Backend){
		"socket": func() (*Handler, *backend.Backend) {
			h, err := NewHandler("/", "unix:"+path+"|http://app/")
			require.NoError(t, err)
			return h, h.own.Backend
		},
		"host": func() (*Handler, *backend.Backend) {
			h, err := NewHandler("/", o.url().String()+"/")
			require.NoError(t, err)
			b, err := h.own.backendFor(o.url())
			require.NoError(t, err)
			return h, b
		},
		"given transport": func() (*Handler, *backend.Backend) { return given, b },
	} {
		t.Run(name, func(t *testing.T) {
			h, b := make()
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			require.Equal(t, 200, w.Code)
			require.EqualValues(t, 1, b.Stats().Open)
			h.CloseIdleConnections()
			require.Zero(t, b.Stats().Open)
		})
	}
}

// TestRecoveringMiddleware: the recipe of Handler.Abort.
func TestRecoveringMiddleware(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		c.request()
		c.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
	})
	h, _, _ := handlerFor(t, o.url())
	logged := make(chan any, 1)
	resp, err := client(t).Get(frontOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler:
				panic(v) // neither logged nor answered
			default:
				logged <- v
			}
		}()
		h.ServeHTTP(w, r)
	})).URL)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	require.Error(t, err, "the client sees the cut")
	require.Empty(t, logged)
}
