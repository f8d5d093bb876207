package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptrace"
	"strings"
	"time"
)

// Probe opens a connection as a request would, with its TLS handshake and its
// PROXY header, and closes it. It neither looks at the state of the backend nor
// changes it, and takes no place in the pool. Health checks use it.
func (b *Backend) Probe(ctx context.Context) error {
	if err := b.setup(); err != nil {
		return err
	}
	var nobody Audience
	var err error
	if b.ProxyProtocol != NoProxyProtocol {
		nobody.header, _, err = b.announcement(WithCheck(ctx))
	}
	if err != nil {
		return err
	}
	c, err := b.dial(ctx, nobody)
	if err != nil {
		return &DialError{Address: b.address, Err: err}
	}
	return c.Close()
}

// dial opens a connection: connect, PROXY header, TLS. The caller holds a
// place in the pool for it.
func (b *Backend) dial(ctx context.Context, audience Audience) (*Conn, error) {
	if timeout := b.limits.Connect; timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	if b.DialContext == nil {
		return b.begin(ctx, audience)
	}
	return Within(ctx, func(ctx context.Context) (*Conn, error) { return b.begin(ctx, audience) }, (*Conn).Abort)
}

// begin opens a connection, for as long as ctx allows if connect obeys it.
func (b *Backend) begin(ctx context.Context, audience Audience) (*Conn, error) {
	born := time.Since(b.epoch)
	nc, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	if rb, ok := nc.(interface{ SetReadBuffer(int) error }); ok && b.ReceiveBufferSize > 0 {
		_ = rb.SetReadBuffer(min(max(b.ReceiveBufferSize, leastSystem), mostSystem)) // a wish: the system has its own limits
	}
	if audience.header == "" && b.tls == nil {
		return b.newConn(nc, nc, audience, born), nil
	}
	// What follows reads and writes: the context must be able to end it.
	wire := nc
	stop := context.AfterFunc(ctx, func() { _ = wire.Close() })
	if audience.header != "" {
		if _, err = io.WriteString(nc, audience.header); err != nil {
			err = fmt.Errorf("PROXY header: %w", err)
		}
	}
	if err == nil && b.tls != nil {
		tc := tls.Client(nc, b.tlsFor(audience.name))
		if err = Handshake(ctx, tc); err != nil {
			err = handshakeError(audience.name, err)
		}
		nc = tc
	}
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		_ = wire.Close()
		return nil, err
	}
	return b.newConn(nc, wire, audience, born), nil
}

// Handshake does the TLS handshake of c, and tells the hooks of an
// httptrace.ClientTrace in ctx.
func Handshake(ctx context.Context, c *tls.Conn) error {
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	err := c.HandshakeContext(ctx)
	if trace != nil && trace.TLSHandshakeDone != nil {
		var state tls.ConnectionState
		if err == nil {
			state = c.ConnectionState()
		}
		trace.TLSHandshakeDone(state, err)
	}
	return err
}

// Dialled returns what a DialContext of somebody else has returned; an error, if
// that is nothing at all.
func Dialled(c net.Conn, err error) (net.Conn, error) {
	if c == nil && err == nil {
		err = errors.New("DialContext returned no connection and no error")
	}
	return c, err
}

func (b *Backend) connect(ctx context.Context) (net.Conn, error) {
	if b.DialContext != nil {
		return Dialled(b.DialContext(ctx, b.network, b.address))
	}
	d := net.Dialer{KeepAlive: or(b.KeepAlive, DefaultKeepAlive), Resolver: b.Resolver}
	if b.SourceAddr.IsValid() && b.network == "tcp" {
		d.LocalAddr = &net.TCPAddr{IP: b.SourceAddr.AsSlice(), Zone: b.SourceAddr.Zone()}
	}
	return d.DialContext(ctx, b.network, b.address)
}

// ServerNameError is the error of a TLS handshake for a name that the request has
// named (ServerNameFromHost): the backend has no certificate for that name, or does
// not serve it. It says nothing about the backend's state.
type ServerNameError struct {
	Name string
	Err  error
}

// Error names the name and the cause.
func (e *ServerNameError) Error() string { return fmt.Sprintf("for %q: %v", e.Name, e.Err) }

// Unwrap returns the cause.
func (e *ServerNameError) Unwrap() error { return e.Err }

// handshakeError words the failure of a handshake. One that has only taken too
// long is not the name's fault.
func handshakeError(name string, err error) error {
	var ne net.Error
	if name != "" && !(errors.As(err, &ne) && ne.Timeout()) && !errors.Is(err, context.DeadlineExceeded) {
		err = &ServerNameError{name, err}
	}
	return fmt.Errorf("TLS handshake: %w", err)
}

// tlsFor returns the configuration for connections to a name other than the
// backend's own; empty means that. Sessions are kept by name.
func (b *Backend) tlsFor(name string) *tls.Config {
	if name == "" {
		return b.tls
	}
	cfg := b.tls.Clone()
	cfg.ServerName = name
	if verify := cfg.VerifyConnection; verify != nil {
		cfg.VerifyConnection = func(cs tls.ConnectionState) error {
			cs.ServerName = name // of an address, crypto/tls tells nothing
			return verify(cs)
		}
	}
	return cfg
}

// tlsConfig completes the TLS field without changing it.
func (b *Backend) tlsConfig() *tls.Config {
	cfg := b.TLS.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	if cfg.ServerName == "" {
		cfg.ServerName = b.URL.Hostname()
	}
	if cfg.NextProtos == nil {
		cfg.NextProtos = []string{"http/1.1"}
		if strings.EqualFold(b.URL.Scheme, "h2") {
			cfg.NextProtos = []string{"h2"}
		}
	}
	if cfg.ClientSessionCache == nil {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	return cfg
}
