package halfclose

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// DefaultTimeout is the Timeout of a [Listener] that says nothing else.
const DefaultTimeout = 60 * time.Second

// Listener is a net.Listener for an http.Server whose clients may end their side of
// the connection behind a request. Set the fields before the first Accept.
//
// It may stand above or below a
// [github.com/modproxy/modproxy/proxy/proxyprotocol.Listener], and stands below TLS.
type Listener struct {
	// Listener is where connections come in.
	net.Listener

	// Timeout is how long a client that has ended its side is waited for while it
	// takes no byte of an answer. Zero means 60 s; negative means as long as the
	// handler takes. Apache has no such limit, but those of its backends.
	Timeout time.Duration
}

var errNoListener = errors.New("halfclose: Listener has no Listener")

// Accept returns the next connection. What is no socket is returned as it is.
func (l *Listener) Accept() (net.Conn, error) {
	if l.Listener == nil {
		return nil, errNoListener
	}
	c, err := l.Listener.Accept()
	if err != nil || !supported {
		return c, err
	}
	if _, ok := c.(syscall.Conn); !ok {
		return c, nil
	}
	timeout := l.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	return &conn{Conn: c, timeout: timeout}, nil
}

// Close closes the listener below, if there is one.
func (l *Listener) Close() error {
	if l.Listener == nil {
		return nil
	}
	return l.Listener.Close()
}

// Addr returns the address of the listener below, nil if there is none.
func (l *Listener) Addr() net.Addr {
	if l.Listener == nil {
		return nil
	}
	return l.Listener.Addr()
}
