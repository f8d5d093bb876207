package apache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/modssl"
)

// tlsListener speaks TLS where the current generation says so: that is found anew
// for each connection, since it may depend on the address at which it arrived.
type tlsListener struct {
	net.Listener
	site       *Site
	configured string
	config     *tls.Config // that leads each handshake to its host
	clear      *handed     // connections whose clients speak no TLS
}

func (s *Site) speakTLS(ln net.Listener, configured string) *tlsListener {
	l := &tlsListener{Listener: ln, site: s, configured: configured, clear: newHanded(ln.Addr())}
	l.config = &tls.Config{
		GetConfigForClient: l.choose,
		GetCertificate:     func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errNoTLS }, // never asked
	}
	return l
}

var errNoTLS = errors.New("no TLS is spoken here")

func (l *tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := l.site.current.Load()
	if g == nil || g.first(l.configured, c.LocalAddr().String()).tls == nil {
		return c, nil
	}
	return tls.Server(&clientConn{Conn: c, listener: l}, l.config), nil
}

func (l *tlsListener) Close() error {
	_ = l.clear.Close()
	return l.Listener.Close()
}

// choose finds the host that a handshake is for, and what TLS is there. A host
// without SSLEngine is reached by the first one's.
func (l *tlsListener) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	c, ok := hello.Conn.(*clientConn)
	g := l.site.acquire()
	if g == nil || !ok {
		return nil, errNoTLS
	}
	defer g.release()
	local := c.LocalAddr().String()
	h := g.hostNamed(l.configured, local, hello.ServerName)
	t := h.tls
	if t == nil {
		t = g.first(l.configured, local).tls
	}
	if t == nil {
		return nil, errNoTLS
	}
	c.host = h
	return t.forClient(hello, c), nil
}

// clientConn is what TLS with a client stands on. What is found in the handshake is
// written before any request is read.
type clientConn struct {
	net.Conn
	listener *tlsListener
	host     *host             // that the handshake was for
	cert     *x509.Certificate // that the client was shown
	client   modssl.Verdict
	begun    bool
	handed   bool // to the listener's clear
}

var errPlainHTTP = errors.New("the client speaks HTTP without TLS")

// Read sees whether the client's first bytes are a request in the clear. httpd
// answers such a client; the connection is then served as one without TLS.
func (c *clientConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.begun || n == 0 {
		return n, err
	}
	c.begun = true
	if p[0] < 'A' || 'Z' < p[0] {
		return n, err
	}
	c.handed = true
	c.listener.clear.hand(&clearConn{Conn: c.Conn})
	return 0, errPlainHTTP
}

func (c *clientConn) Write(p []byte) (int, error) {
	if c.handed {
		return 0, errPlainHTTP
	}
	return c.Conn.Write(p)
}

func (c *clientConn) Close() error {
	if c.handed {
		return nil
	}
	return c.Conn.Close()
}

// NetConn returns the connection below.
func (c *clientConn) NetConn() net.Conn { return c.Conn }

// clearConn is a connection of a client that speaks HTTP where TLS is spoken. What
// it has said is not read: as in httpd, it stands for "GET / HTTP/1.0".
type clearConn struct {
	net.Conn
	read int
}

const clearRequest = "GET / HTTP/1.0\r\n\r\n"

func (c *clearConn) Read(p []byte) (int, error) {
	if n := copy(p, clearRequest[c.read:]); n > 0 {
		c.read += n
		return n, nil
	}
	return c.Conn.Read(p)
}

// Close lets the client read the answer: what it still sends is read for a moment,
// or it would get a reset.
func (c *clearConn) Close() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, io.LimitReader(c.Conn, 64<<10))
	}
	return c.Conn.Close()
}

// handed is a listener for connections that another one has accepted.
type handed struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHanded(addr net.Addr) *handed {
	return &handed{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (h *handed) hand(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		_ = c.Close()
	}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handed) Addr() net.Addr { return h.addr }

func (h *handed) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// connKey is where the context of a connection has the clientConn or clearConn.
type connKey struct{}

// noteConn is the ConnContext of each server.
func noteConn(ctx context.Context, c net.Conn) context.Context {
	switch below := c.(type) {
	case *tls.Conn:
		if client, ok := below.NetConn().(*clientConn); ok {
			ctx, c = context.WithValue(ctx, connKey{}, client), client.Conn
		}
	case *clearConn:
		ctx, c = context.WithValue(ctx, connKey{}, below), below.Conn
	}
	return noteAnnounced(ctx, c)
}
