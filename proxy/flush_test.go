package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPausesAreFlushed: whatever delimits the body, the client gets what is
// there when the backend pauses.
func TestPausesAreFlushed(t *testing.T) {
	chunk := func(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }
	plain := func(s string) string { return s }
	for name, tc := range map[string]struct {
		head  string
		frame func(string) string
	}{
		"known length":   {"Content-Length: 6", plain},
		"chunked":        {"Transfer-Encoding: chunked", chunk},
		"event stream":   {"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked", chunk},
		"until close":    {"Connection: close", plain},
		"long and known": {"Content-Length: 1000000", plain},
	} {
		for via, wrap := range map[string]func(h *Handler){
			"ours":    func(*Handler) {},
			"foreign": func(h *Handler) { h.Transport = hideWriterTo{h.Transport} },
		} {
			t.Run(name+"/"+via, func(t *testing.T) {
				next := make(chan struct{})
				o := newOrigin(t, func(c *originConn, _ int) {
					c.request()
					c.say("HTTP/1.1 200 OK\r\n" + tc.head + "\r\n\r\n")
					for _, s := range []string{"ab", "cd"} {
						<-next
						c.say(tc.frame(s))
					}
					<-next
				})
				h, _, _ := handlerFor(t, o.url())
				wrap(h)
				resp, err := client(t).Get(frontOf(t, h).URL)
				require.NoError(t, err, "the head must come though no byte of the body has")
				defer resp.Body.Close()
				for _, want := range []string{"ab", "cd"} {
					next <- struct{}{}
					got := make([]byte, 2)
					_, err = io.ReadFull(resp.Body, got)
					require.NoError(t, err)
					require.Equal(t, want, string(got))
				}
				close(next)
			})
		}
	}
}

// hideWriterTo makes bodies look as those of another transport.
type hideWriterTo struct{ http.RoundTripper }

func (h hideWriterTo) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := h.RoundTripper.RoundTrip(r)
	if err == nil && resp.Body != http.NoBody {
		resp.Body = struct{ io.ReadCloser }{resp.Body}
	}
	return resp, err
}

// TestFlushInterval: bytes that wait for more do not wait longer than that.
func TestFlushInterval(t *testing.T) {
	o := newOrigin(t, func(c *originConn, _ int) {
		c.request()
		c.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
		c.untilClosed()
	})
	h, _, _ := handlerFor(t, o.url())
	h.FlushInterval = 20 * time.Millisecond
	resp, err := client(t).Get(frontOf(t, h).URL)
	require.NoError(t, err)
	got := make([]byte, 2)
	_, err = io.ReadFull(resp.Body, got)
	require.NoError(t, err)
	_ = resp.Body.Close()
}

// TestResetIsNoEnd: a reset in a body without length is not taken for its end,
// though the connection was looked at before it was read from.
func TestResetIsNoEnd(t *testing.T) {
	next := make(chan struct{})
	o := newOrigin(t, func(c *originConn, _ int) {
		c.request()
		c.say("HTTP/1.1 200 OK\r\n\r\nab")
		<-next
		c.reset()
	})
	h, _, _ := handlerFor(t, o.url())
	resp, err := client(t).Get(frontOf(t, h).URL)
	require.NoError(t, err)
	_, err = io.ReadFull(resp.Body, make([]byte, 2))
	require.NoError(t, err)
	close(next)
	_, err = io.ReadAll(resp.Body)
	require.Error(t, err)
	_ = resp.Body.Close()
}

// TestLongBodiesAreSpliced: the writer under the handler gets the backend's
// TCP connection itself, so that the kernel can move the bytes.
func TestLongBodiesAreSpliced(t *testing.T) {
	const size = 1 << 20
	o := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: "+fmt.Sprint(size)+"\r\n\r\n"+strings.Repeat("x", size))
	h, b, _ := handlerFor(t, o.url())
	var spliced atomic.Int64
	front := frontOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&readFromSpy{ResponseWriter: w, spliced: &spliced}, r)
	}))
	for range 2 {
		resp, err := client(t).Get(front.URL)
		require.NoError(t, err)
		require.Len(t, body(t, resp), size)
		becomesIdle(t, b)
	}
	require.Eventually(t, func() bool { return spliced.Load() > 2*size-64<<10 }, 20*time.Second, time.Millisecond, "all but what came with the head")
	require.EqualValues(t, 1, b.Stats().Created)
	require.Eventually(t, func() bool { return b.Stats().Received >= 2*size }, 20*time.Second, time.Millisecond)
}

type readFromSpy struct {
	http.ResponseWriter
	spliced *atomic.Int64
}

func (s *readFromSpy) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *readFromSpy) ReadFrom(r io.Reader) (int64, error) {
	n, err := s.ResponseWriter.(io.ReaderFrom).ReadFrom(r)
	if lr, ok := r.(*io.LimitedReader); ok {
		if _, tcp := lr.R.(*net.TCPConn); tcp {
			s.spliced.Add(n)
		}
	}
	return n, err
}

// TestSlowClient: a client that reads slowly uses up no time limit of the
// backend.
func TestSlowClient(t *testing.T) {
	const size = 32 << 20
	content := make([]byte, size)
	o := newOrigin(t, func(c *originConn, _ int) {
		c.request()
		c.say("HTTP/1.1 200 OK\r\nContent-Length: " + fmt.Sprint(size) + "\r\n\r\n")
		_, _ = c.Write(content)
		c.untilClosed()
	})
	h, b, _ := handlerFor(t, o.url())
	b.Timeout = time.Second // on a busy machine the origin may not run for some time
	c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	total := int64(0)
	for i := 0; total < size; i++ {
		if i < 3 {
			<-time.After(1250 * time.Millisecond)
		}
		n, err := io.CopyN(io.Discard, resp.Body, 512<<10)
		total += n
		require.NoError(t, err, "after %d bytes", total)
	}
}

// TestTrailerDoesNotHoldData: what came before a trailer that is not complete
// is passed on.
func TestTrailerDoesNotHoldData(t *testing.T) {
	next := make(chan struct{})
	o := newOrigin(t, func(c *originConn, _ int) {
		c.request()
		c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nA: ")
		<-next
		c.say("b\r\n\r\n")
	})
	h, _, _ := handlerFor(t, o.url())
	resp, err := client(t).Get(frontOf(t, h).URL)
	if err == nil {
		_, err = io.ReadFull(resp.Body, make([]byte, 2))
	}
	close(next)
	require.NoError(t, err)
	require.Empty(t, body(t, resp))
	require.Equal(t, http.Header{"A": {"b"}}, resp.Trailer)
}
