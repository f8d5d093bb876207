package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// bodyOrigin answers with how the body was framed, and the body.
func bodyOrigin(t *testing.T) *origin {
	return newOrigin(t, func(c *originConn, _ int) {
		for {
			r, b, ok := c.request()
			if !ok {
				return
			}
			frame := fmt.Sprintf("%v %d ", r.TransferEncoding, r.ContentLength)
			c.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Frame: %s\r\nX-Expect: %s\r\nContent-Length: %d\r\n\r\n%s", frame, r.Header.Get("Expect"), len(b), b))
		}
	})
}

func TestRequestBodies(t *testing.T) {
	o := bodyOrigin(t)
	h, b, _ := handlerFor(t, o.url())
	front := frontOf(t, h)
	big := strings.Repeat("0123456789abcdef", 20000)
	for name, tc := range map[string]struct {
		body  io.Reader
		want  string
		frame string
	}{
		"none":          {nil, "", "[] 0"},
		"short":         {strings.NewReader("hello"), "hello", "[] 5"},
		"long":          {strings.NewReader(big), big, "[] 320000"},
		"short chunked": {struct{ io.Reader }{strings.NewReader("hello")}, "hello", "[chunked] -1"},
		"long chunked":  {struct{ io.Reader }{strings.NewReader(big)}, big, "[chunked] -1"},
		"empty chunked": {struct{ io.Reader }{strings.NewReader("")}, "", "[chunked] -1"},
		"in pieces":     {struct{ io.Reader }{io.MultiReader(strings.NewReader("he"), strings.NewReader("llo"))}, "hello", "[chunked] -1"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := client(t).Post(front.URL, "text/plain", tc.body)
			require.NoError(t, err)
			require.Equal(t, tc.want, body(t, resp))
			require.Equal(t, tc.frame, strings.TrimSpace(resp.Header.Get("X-Frame")))
			becomesIdle(t, b)
		})
	}
	require.LessOrEqual(t, o.connections(), 1, "all went over one connection")
}

// TestHeadDoesNotWaitForBody: a slow client's head reaches the backend.
func TestHeadDoesNotWaitForBody(t *testing.T) {
	for name, frame := range map[string]string{"length": "Content-Length: 5", "chunked": "Transfer-Encoding: chunked"} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan string, 1)
			o := newOrigin(t, func(c *originConn, _ int) {
				head, _ := c.head()
				arrived <- head
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")
				c.untilClosed()
			})
			h, _, _ := handlerFor(t, o.url())
			c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: f\r\n"+frame+"\r\n\r\n")
			select {
			case head := <-arrived:
				require.Contains(t, head, frame)
			case <-time.After(20 * time.Second):
				t.Fatal("the head waits for the body")
			}
			// The answer comes before the body: it must be passed on at once.
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			require.NoError(t, err)
			require.Equal(t, "ab", body(t, resp))
			require.True(t, resp.Close, "the rest of the request is not wanted")
		})
	}
}

// TestEarlyAnswerWins: the backend refuses a large body without reading it.
func TestEarlyAnswerWins(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		c.head()
		c.say("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
		c.untilClosed()
	})
	h, b, _ := handlerFor(t, o.url())
	front := frontOf(t, h)
	c, err := net.Dial("tcp", front.Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: f\r\nContent-Length: 100000000\r\n\r\n")
	_, _ = c.Write(bytes.Repeat([]byte("x"), 100000))
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	require.Equal(t, 413, resp.StatusCode)
	require.Equal(t, "big", body(t, resp))
	require.Eventually(t, func() bool { return b.Stats().Open == 0 }, 20*time.Second, time.Millisecond)
}

// TestDuplex: what the backend answers while the body is still coming arrives.
func TestDuplex(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		c.head()
		c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			line, err := c.r.ReadString('\n')
			if err != nil || line == "0\r\n" {
				c.say("0\r\n\r\n")
				return
			}
			data, _ := c.r.ReadString('\n')
			c.say(line + data)
		}
	})
	h, _, _ := handlerFor(t, o.url())
	c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n")
	r := bufio.NewReader(c)
	var resp *http.Response
	for _, word := range []string{"one", "two", "six"} {
		_, _ = io.WriteString(c, "3\r\n"+word+"\r\n")
		if resp == nil {
			resp, err = http.ReadResponse(r, nil)
			require.NoError(t, err)
		}
		got := make([]byte, 3)
		_, err = io.ReadFull(resp.Body, got)
		require.NoError(t, err)
		require.Equal(t, word, string(got))
	}
	_, _ = io.WriteString(c, "0\r\n\r\n")
	rest, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Empty(t, rest)
}

func TestExpectContinue(t *testing.T) {
	for name, tc := range map[string]struct {
		script func(c *originConn)
		status int
		sends  bool // the client gets a 100
	}{
		"answered with 100": {func(c *originConn) {
			c.head()
			c.say("HTTP/1.1 100 Continue\r\n\r\n")
			b := make([]byte, 5)
			_, _ = io.ReadFull(c.r, b)
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + string(b))
		}, 200, true},
		"refused": {func(c *originConn) {
			c.head()
			c.say("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
			c.untilClosed()
		}, 417, false},
		"ignored": {func(c *originConn) {
			c.head()
			b := make([]byte, 5)
			_, _ = io.ReadFull(c.r, b)
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + string(b))
		}, 200, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, func(c *originConn, _ int) { tc.script(c) })
			h, _, _ := handlerFor(t, o.url())
			h.Transport.(*Transport).ExpectTimeout = 20 * time.Second
			if name == "ignored" {
				h.Transport.(*Transport).ExpectTimeout = 50 * time.Millisecond
			}
			c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: f\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
			r := bufio.NewReader(c)
			resp, err := http.ReadResponse(r, nil)
			require.NoError(t, err)
			if tc.sends {
				require.Equal(t, 100, resp.StatusCode)
				_, _ = io.WriteString(c, "hello")
				resp, err = http.ReadResponse(r, nil)
				require.NoError(t, err)
				require.Equal(t, "hello", body(t, resp))
			} else {
				require.Equal(t, "no", body(t, resp))
			}
			require.Equal(t, tc.status, resp.StatusCode)
		})
	}
}

func TestPing(t *testing.T) {
	for name, answers := range map[string]bool{"answered": true, "silent": false} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, func(c *originConn, _ int) {
				head, _ := c.head()
				if !answers || !strings.Contains(head, "Expect: 100-continue\r\n") {
					c.untilClosed()
					return
				}
				c.say("HTTP/1.1 100 Continue\r\n\r\n")
				b := make([]byte, 5)
				_, _ = io.ReadFull(c.r, b)
				c.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			})
			h, _, rec := handlerFor(t, o.url())
			h.Transport.(*Transport).Ping = 100 * time.Millisecond
			if answers {
				h.Transport.(*Transport).Ping = 20 * time.Second
			}
			got := exchangeRaw(t, frontOf(t, h).Listener.Addr().String(), "POST / HTTP/1.1\r\nHost: f\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
			if answers {
				require.True(t, strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n"), "the 100 that we asked for is not the client's: %q", got)
				return
			}
			require.True(t, strings.HasPrefix(got, "HTTP/1.1 503 "), got)
			require.True(t, exchange.MayResend(rec.last(t).Err))
		})
	}
}

// staleOrigin answers once on its first connection and resets it when the
// next request has come; later connections answer.
func staleOrigin(t *testing.T) *origin {
	return newOrigin(t, func(c *originConn, n int) {
		for i := 0; ; i++ {
			r, b, ok := c.request()
			if !ok {
				return
			}
			if n == 1 && i == 1 {
				c.reset()
				return
			}
			c.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(r.Method)+len(b), r.Method+b))
		}
	})
}

func TestStaleConnection(t *testing.T) {
	for name, tc := range map[string]struct {
		method, body, key string
		limit             int
		status            int
	}{
		"GET":                    {"GET", "", "", 0, 200},
		"PUT is sent again":      {"PUT", "hello", "", 0, 200},
		"POST is not":            {"POST", "hello", "", 0, 502},
		"POST with a key is":     {"POST", "hello", "k", 0, 200},
		"PUT beyond the limit":   {"PUT", "hello", "", 3, 502},
		"PUT with nothing kept":  {"PUT", "hello", "", -1, 502},
		"DELETE without a body":  {"DELETE", "", "", -1, 200},
		"POST without a body":    {"POST", "", "", 0, 502},
		"unknown method is POST": {"BREW", "", "", 0, 502},
	} {
		t.Run(name, func(t *testing.T) {
			o := staleOrigin(t)
			h, b, rec := handlerFor(t, o.url())
			h.ReplayLimit = tc.limit
			front := frontOf(t, h)
			resp, err := client(t).Get(front.URL)
			require.NoError(t, err)
			_ = body(t, resp)
			require.Eventually(t, func() bool { return b.Stats().Idle == 1 }, 20*time.Second, time.Millisecond)
			req, _ := http.NewRequest(tc.method, front.URL, struct{ io.Reader }{strings.NewReader(tc.body)})
			if tc.body == "" {
				req.Body = nil
			} else {
				req.ContentLength = int64(len(tc.body))
			}
			if tc.key != "" {
				req.Header.Set("Idempotency-Key", tc.key)
			}
			resp, err = client(t).Do(req)
			require.NoError(t, err)
			require.Equal(t, tc.status, resp.StatusCode)
			text := body(t, resp)
			require.Eventually(t, func() bool { return len(rec.all()) == 2 }, 20*time.Second, time.Millisecond)
			r := rec.last(t)
			if tc.status == 200 {
				require.Equal(t, tc.method+tc.body, text)
				require.Equal(t, 2, r.Attempts)
				require.NoError(t, r.Err)
			} else {
				require.ErrorIs(t, r.Err, exchange.ErrStaleConn)
				require.Equal(t, 1, r.Attempts)
			}
		})
	}
}

func TestBodyTooLarge(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) { c.untilClosed() })
	h, b, rec := handlerFor(t, o.url())
	limited := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 10)
		h.ServeHTTP(w, r)
	})
	resp, err := client(t).Post(frontOf(t, limited).URL, "a/b", struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 100))})
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
	var e *exchange.Error
	require.ErrorAs(t, rec.last(t).Err, &e)
	require.Equal(t, exchange.OpClient, e.Op)
	require.Zero(t, b.Stats().Idle)
}

// TestBodyCutByClient: the backend must not take a part for the whole.
func TestBodyCutByClient(t *testing.T) {
	for name, request := range map[string]string{
		"length":  "POST / HTTP/1.1\r\nHost: f\r\nContent-Length: 10\r\n\r\nabc",
		"chunked": "POST / HTTP/1.1\r\nHost: f\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			whole := make(chan bool, 1)
			o := newOrigin(t, func(c *originConn, _ int) {
				_, _, ok := c.request()
				whole <- ok
			})
			h, _, rec := handlerFor(t, o.url())
			c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
			require.NoError(t, err)
			_, _ = io.WriteString(c, request)
			_ = c.Close()
			select {
			case ok := <-whole:
				require.False(t, ok)
			case <-time.After(20 * time.Second):
				t.Fatal("the backend still waits for the body")
			}
			var e *exchange.Error
			require.ErrorAs(t, rec.last(t).Err, &e)
			require.Equal(t, exchange.OpClient, e.Op, "%v", e)
		})
	}
}

// TestSlowUploadIsNoTimeout: it is not the backend that is slow.
func TestSlowUploadIsNoTimeout(t *testing.T) {
	o := bodyOrigin(t)
	h, b, _ := handlerFor(t, o.url())
	b.Timeout = time.Second
	pr, pw := io.Pipe()
	go func() {
		for _, s := range []string{"he", "ll", "o"} {
			_, _ = io.WriteString(pw, s)
			<-time.After(1250 * time.Millisecond)
		}
		_ = pw.Close()
	}()
	resp, err := client(t).Post(frontOf(t, h).URL, "a/b", pr)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "hello", body(t, resp))
}

// failingBody fails as a real one does, after some bytes.
type failingBody struct{ err error }

func (f failingBody) Read([]byte) (int, error) { return 0, f.err }
func (f failingBody) Close() error             { return nil }

// TestBodiesAreClosed: a RoundTripper closes the body, whatever happens.
func TestBodiesAreClosed(t *testing.T) {
	o := bodyOrigin(t)
	dead := answering(t, "")
	dead.close()
	for name, tc := range map[string]struct {
		url  string
		edit func(r *http.Request)
	}{
		"answered":       {o.url().String(), func(*http.Request) {}},
		"no connection":  {dead.url().String(), func(*http.Request) {}},
		"bad header":     {o.url().String(), func(r *http.Request) { r.Header["A b"] = []string{""} }},
		"other scheme":   {"gopher://x/", func(*http.Request) {}},
		"failing body":   {o.url().String(), func(r *http.Request) { r.Body = &closeSpy{Reader: failingBody{errors.New("x")}} }},
		"expect refused": {o.url().String(), func(r *http.Request) { r.Header["Expect"] = []string{"100-continue"} }},
	} {
		t.Run(name, func(t *testing.T) {
			tr := &Transport{ExpectTimeout: time.Millisecond}
			defer tr.CloseIdleConnections()
			req := httptest.NewRequest("POST", tc.url, nil)
			req.Body = &closeSpy{Reader: strings.NewReader("hello")}
			req.ContentLength = 5
			tc.edit(req)
			spy := req.Body.(*closeSpy)
			resp, err := tr.RoundTrip(req)
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			require.Eventually(t, spy.isClosed, 20*time.Second, time.Millisecond)
		})
	}
}
