package exchangetest

import (
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// nearConn is the transport's end of a connection.
type nearConn struct {
	net.Conn
	far    net.Conn
	main   bool // to the backend's own address
	once   sync.Once
	closed chan struct{}
	mute   atomic.Bool // nothing can be written any more
}

// silence breaks the way to the backend, of which that sees nothing.
func (n *nearConn) silence() {
	n.mute.Store(true)
	_ = n.SetWriteDeadline(time.Unix(1, 0)) // for a Write that waits
}

func (n *nearConn) Write(p []byte) (int, error) {
	if n.mute.Load() {
		return 0, errSilenced
	}
	m, err := n.Conn.Write(p)
	if n.mute.Load() && m < len(p) {
		err = errSilenced
	}
	return m, err
}

// Close notes that it was called.
func (n *nearConn) Close() error {
	n.once.Do(func() { close(n.closed) })
	return n.Conn.Close()
}

func (n *nearConn) isClosed() bool {
	select {
	case <-n.closed:
		return true
	default:
		return false
	}
}

// nearTCP is the same for TCP, with the methods by which a socket is looked at.
type nearTCP struct {
	*net.TCPConn
	n *nearConn
}

func (t *nearTCP) Close() error { return t.n.Close() }

// farConn is the backend's end of a connection, which can hold back what is
// written.
type farConn struct {
	net.Conn
	near    *nearConn
	s       Server
	holding bool
	held    []byte
	torn    bool // what was held back will never be sent
}

func (c *farConn) Write(p []byte) (int, error) {
	if c.holding {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// BodySize is the length of the bodies of answers to GET, but for those that are
// cut.
const BodySize = 40_000

// content is the body of the answer to the request of that name.
func content(name string, size int) string {
	return strings.Repeat(name+".", size/(len(name)+1)+1)[:size]
}

// head writes the head of the answer to r, whose body has a length or not.
func (c *farConn) head(r *http.Request, length bool) error {
	h := http.Header{"X-Name": {path.Base(r.URL.Path)}}
	if length {
		h.Set("Content-Length", strconv.Itoa(BodySize))
	}
	return c.s.WriteHead(http.StatusOK, h)
}

// body writes a part of the body of the answer to r.
func (c *farConn) body(r *http.Request, from, to int) error {
	return c.s.WriteBody([]byte(content(path.Base(r.URL.Path), to)[from:]))
}

// half writes the first half of what f writes.
func (c *farConn) half(f func() error) error {
	c.holding = true
	err := f()
	c.holding, c.torn = false, true
	if err == nil {
		_, err = c.Conn.Write(c.held[:len(c.held)/2])
	}
	c.held = nil
	return err
}
