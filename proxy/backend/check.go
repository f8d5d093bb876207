package backend

import "context"

type checkKey struct{}

// WithCheck returns a context for a health check. Whoever gets a connection
// with it, gets one that is opened for the check alone: beyond MaxConns,
// MaxIdle and MinIdle, in no state's way, and in none of the figures of
// [Backend.Stats]. A backend whose connections are all in use is not down for
// that. Transports pass contexts on to Get, so that a request sent with it is
// a check over any protocol.
func WithCheck(ctx context.Context) context.Context {
	return context.WithValue(ctx, checkKey{}, true)
}

// IsCheck reports whether ctx was made by [WithCheck].
func IsCheck(ctx context.Context) bool { return ctx.Value(checkKey{}) != nil }

// For returns the backend whose connections serve ctx: for a health check
// ([WithCheck]) another of the same fields that keeps no connection, as httpd
// has a worker for its checks; else b itself. Get does this by itself: For is
// for protocols with a pool of their own.
func (b *Backend) For(ctx context.Context) *Backend {
	if !IsCheck(ctx) {
		return b
	}
	p := &b.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.checks == nil {
		p.checks = b.forChecks()
		p.checks.pool.closed = p.closed
	}
	return p.checks
}

// forChecks is a backend like b for connections that serve a check and are
// closed. It speaks to nobody of its state, of which others draw conclusions.
func (b *Backend) forChecks() *Backend {
	return &Backend{
		URL: b.URL, Socket: b.Socket, DialContext: b.DialContext, SourceAddr: b.SourceAddr, Resolver: b.Resolver,
		TLS: b.TLS, ServerNameFromHost: b.ServerNameFromHost, ProxyProtocol: b.ProxyProtocol, ProxyProtocolTLVs: b.ProxyProtocolTLVs, UniqueID: b.UniqueID,
		ConnectTimeout: b.ConnectTimeout, WriteTimeout: b.WriteTimeout, HeaderTimeout: b.HeaderTimeout, ReadTimeout: b.ReadTimeout,
		RequestTimeout: b.RequestTimeout, Timeout: b.Timeout,
		KeepAlive: b.KeepAlive, ReceiveBufferSize: b.ReceiveBufferSize,
		ReadBufferSize: b.ReadBufferSize, WriteBufferSize: b.WriteBufferSize, DisableReuse: b.DisableReuse,
		MaxIdle: -1, AddressTTL: -1,
	}
}
