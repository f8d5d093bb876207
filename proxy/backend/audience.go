package backend

import (
	"context"
	"net/netip"
	"strings"

	"github.com/modproxy/modproxy/proxy/internal/contextkey"
)

// Audience is whom alone a connection serves: connections of one never carry a
// request of another. It can be compared; that of most is the zero Audience, which
// is everybody. It is for protocols with a pool of their own; Get obeys it by
// itself.
type Audience struct {
	owner  string         // of GetFor
	client netip.AddrPort // with ProxyProtocol
	header string         // by which that, and more about it, was announced
	name   string         // with ServerNameFromHost, if it is another than the backend's own
}

// WithServerName returns a context that tells Get to which name a request is
// sent, without a port. It has an effect with ServerNameFromHost alone.
func WithServerName(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, contextkey.ServerName{}, name)
}

// AudienceOf returns whom alone a connection that Get opens with ctx serves.
func (b *Backend) AudienceOf(ctx context.Context) (a Audience, err error) {
	if err := b.setup(); err != nil {
		return a, err
	}
	if b.ProxyProtocol != NoProxyProtocol {
		a.header, a.client, err = b.announcement(ctx)
	}
	if b.ServerNameFromHost && b.tls != nil {
		name, _ := ctx.Value(contextkey.ServerName{}).(string)
		if name = serverName(name); name != serverName(b.tls.ServerName) {
			a.name = name
		}
	}
	return a, err
}

// serverName returns a name in the form in which names are compared.
func serverName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// Audience returns whom alone the connection serves.
func (c *Conn) Audience() Audience { return c.audience }
