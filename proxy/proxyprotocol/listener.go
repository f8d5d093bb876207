package proxyprotocol

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// DefaultHeaderTimeout is the HeaderTimeout of a [Listener] that says nothing else.
const DefaultHeaderTimeout = 5 * time.Second

// Listener is a net.Listener whose peers may tell who the client is. Set the
// fields before the first Accept. Apache: RemoteIPProxyProtocol.
type Listener struct {
	// Listener is where connections come in.
	net.Listener

	// Trusted are the peers that begin each connection with a header, and are
	// believed. Connections of all others are left as they are. Peers on a
	// unix-domain socket are always trusted: the permissions of its file say who
	// may connect.
	Trusted []netip.Prefix

	// Exceptions are peers that Trusted covers, but that are not trusted.
	// Apache: RemoteIPProxyProtocolExceptions.
	Exceptions []netip.Prefix

	// Trusts, if not nil, says in place of Trusted and Exceptions whether the peer
	// of a connection begins it with a header and is believed: for lists that
	// change while the server runs, and for rules by the local address. It must not
	// wait: other connections wait for it.
	Trusts func(c net.Conn) bool

	// Optional takes connections of trusted peers without a header, too, as the
	// peer's own. If false, they are closed. A peer that says nothing within
	// HeaderTimeout, such as one that waits for the server to speak, counts as one
	// without.
	Optional bool

	// HeaderTimeout is how long a trusted peer may take to send its header. Zero
	// means 5 s; negative means for ever.
	HeaderTimeout time.Duration

	// Logger gets connections that are refused for their header at level Info, and
	// those that end before a byte has come, as checks of load balancers do, at
	// level Debug. If nil, nothing is logged.
	Logger *slog.Logger

	start, end sync.Once
	ready      chan accepted
	done       chan struct{} // closed by Close
	work       sync.WaitGroup

	mu      sync.Mutex // guards the rest
	reading map[net.Conn]struct{}
	left    []net.Conn // what Accept had not returned when Close was called
	closed  bool
}

var errNoListener = errors.New("proxyprotocol: Listener has no Listener")

// accepted is what Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

// setup makes what Accept and Close share.
func (l *Listener) setup() {
	l.start.Do(func() {
		l.ready, l.done = make(chan accepted), make(chan struct{})
		l.reading = make(map[net.Conn]struct{})
		l.work.Add(1)
		go l.run()
	})
}

// Accept returns the next connection whose header is in, as a [*Conn], or that
// has none to send.
func (l *Listener) Accept() (net.Conn, error) {
	if l.Listener == nil {
		return nil, errNoListener
	}
	l.setup()
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.done:
	}
	l.work.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.left); n > 0 {
		c := l.left[n-1]
		l.left = l.left[:n-1]
		return c, nil
	}
	return nil, net.ErrClosed
}

// Close closes the listener, and the connections whose header is not in. Accept
// still returns those that were taken before, and then [net.ErrClosed].
func (l *Listener) Close() (err error) {
	if l.Listener == nil {
		return nil
	}
	l.setup()
	l.end.Do(func() {
		close(l.done)
		err = l.Listener.Close()
		l.mu.Lock()
		l.closed = true
		for c := range l.reading {
			_ = c.Close()
		}
		l.mu.Unlock()
		l.work.Wait()
	})
	return err
}

// Addr returns the address of the listener below, nil if there is none.
func (l *Listener) Addr() net.Addr {
	if l.Listener == nil {
		return nil
	}
	return l.Listener.Addr()
}

// run takes connections in.
func (l *Listener) run() {
	defer l.work.Done()
	for {
		c, err := l.Listener.Accept()
		if err == nil && l.trusts(c) {
			if l.begin(c) {
				go l.greet(c)
			}
			continue
		}
		if !l.hand(c, err) {
			return
		}
	}
}

// hand gives Accept what to return, and reports false after Close.
func (l *Listener) hand(c net.Conn, err error) bool {
	select {
	case l.ready <- accepted{c, err}:
		return true
	case <-l.done:
		if c != nil {
			l.mu.Lock()
			l.left = append(l.left, c)
			l.mu.Unlock()
		}
		return false
	}
}

// begin notes that the header of c is being read, or closes it after Close.
func (l *Listener) begin(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = c.Close()
		return false
	}
	l.reading[c] = struct{}{}
	l.work.Add(1)
	return true
}

// greet reads the header of c.
func (l *Listener) greet(c net.Conn) {
	defer l.work.Done()
	out, err := l.meet(c)
	l.mu.Lock()
	delete(l.reading, c)
	l.mu.Unlock()
	if err == nil {
		l.hand(out, nil)
		return
	}
	_ = c.Close()
	if l.Logger == nil {
		return
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		l.Logger.Debug("proxyprotocol: connection ended without a header", "peer", c.RemoteAddr().String())
		return
	}
	l.Logger.Info("proxyprotocol: connection refused", "peer", c.RemoteAddr().String(), "error", err)
}

// meet reads the header of c, and makes the connection of it.
func (l *Listener) meet(c net.Conn) (*Conn, error) {
	limit := l.HeaderTimeout
	if limit == 0 {
		limit = DefaultHeaderTimeout
	}
	if limit > 0 {
		if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
			return nil, err
		}
	}
	h, got, err := read(c)
	switch {
	case err == nil:
		got = nil
	case l.Optional && (err == errNoHeader || len(got) == 0 && errors.Is(err, os.ErrDeadlineExceeded)):
		h = nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("no PROXY header within %s: %w", limit, err)
	default:
		return nil, err
	}
	if limit > 0 {
		if err := c.SetReadDeadline(time.Time{}); err != nil {
			return nil, err
		}
	}
	return newConn(c, h, got), nil
}

// trusts reports whether the peer of c has to send a header.
func (l *Listener) trusts(c net.Conn) bool {
	if l.Trusts != nil {
		return l.Trusts(c)
	}
	peer := c.RemoteAddr()
	if _, ok := peer.(*net.UnixAddr); ok {
		return true
	}
	at, err := netip.ParseAddrPort(peer.String())
	ip := at.Addr().Unmap().WithZone("")
	return err == nil && contains(l.Trusted, ip) && !contains(l.Exceptions, ip)
}

func contains(list []netip.Prefix, ip netip.Addr) bool {
	for _, p := range list {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
