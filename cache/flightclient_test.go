package cache

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
)

// client is a ResponseWriter whose state can be looked at meanwhile.
type client struct {
	ctx    context.Context
	leave  context.CancelFunc
	done   chan struct{}
	broken any // what the handler panicked with

	mu     sync.Mutex
	header http.Header
	status int
	body   bytes.Buffer
	slow   chan struct{} // if not nil, each Write waits for it
	fails  bool          // each Write does
}

func newClient() *client {
	c := &client{header: make(http.Header), done: make(chan struct{})}
	c.ctx, c.leave = context.WithCancel(context.Background())
	return c
}

func (c *client) Header() http.Header { return c.header }

func (c *client) WriteHeader(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if code >= 200 {
		c.status = code
	}
}

func (c *client) Write(p []byte) (int, error) {
	if c.slow != nil {
		select {
		case <-c.slow:
		case <-c.ctx.Done():
			return 0, c.ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return 0, c.ctx.Err()
	}
	if c.fails {
		return 0, os.ErrDeadlineExceeded
	}
	return c.body.Write(p)
}

func (c *client) Flush() {}

func (c *client) got() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.body.String()
}

// ask begins a request.
func (c *client) ask(h http.Handler, target string, lines ...string) *client {
	r := httptest.NewRequestWithContext(c.ctx, http.MethodGet, target, nil)
	for name, values := range headerOf(lines...) {
		r.Header[name] = values
	}
	go func() {
		defer close(c.done)
		defer func() { c.broken = recover() }()
		h.ServeHTTP(c, r)
	}()
	return c
}

func asking(h http.Handler, target string, lines ...string) *client {
	return newClient().ask(h, target, lines...)
}

func (c *client) finished() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// slowly is an origin that writes its pieces, each when it is told to.
func slowly(header http.Header, next chan string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case piece, ok := <-next:
				if !ok {
					return
				}
				if piece == "cut" {
					panic(http.ErrAbortHandler)
				}
				if _, err := io.WriteString(w, piece); err != nil {
					panic(http.ErrAbortHandler)
				}
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
	}
}
