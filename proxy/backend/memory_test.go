package backend

import (
	"context"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// memory is a network of pipes whose far ends it keeps.
type memory struct {
	mu   sync.Mutex
	far  []net.Conn
	fail error
	slow time.Duration
	now  atomic.Int64 // connections open
	most atomic.Int64
}

type memoryConn struct {
	net.Conn
	m    *memory
	once sync.Once
}

func (c *memoryConn) Close() error {
	c.once.Do(func() { c.m.now.Add(-1) })
	return c.Conn.Close()
}

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if m.slow > 0 {
		select {
		case <-time.After(m.slow):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	a, b := net.Pipe()
	m.far = append(m.far, b)
	n := m.now.Add(1)
	for old := m.most.Load(); n > old && !m.most.CompareAndSwap(old, n); old = m.most.Load() {
	}
	return &memoryConn{Conn: a, m: m}, nil
}

func (m *memory) setFail(err error) {
	m.mu.Lock()
	m.fail = err
	m.mu.Unlock()
}

// inMemory returns a backend on pipes.
func inMemory() (*Backend, *memory) {
	m := &memory{}
	return &Backend{URL: &url.URL{Scheme: "http", Host: "b.test"}, DialContext: m.dial}, m
}
