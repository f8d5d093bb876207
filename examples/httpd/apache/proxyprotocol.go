package apache

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/proxyprotocol"
)

// announced says where clients are announced by the PROXY protocol.
type announced struct {
	at         []announcedAt
	exceptions []netip.Prefix
}

// announcedAt is what RemoteIPProxyProtocol says of one address.
type announcedAt struct {
	address string
	on      bool
	by      *conf.Directive
}

// applyProxyProtocol notes RemoteIPProxyProtocol for the addresses of a virtual
// host, or for all. Of two that name the same address, the later one counts.
func applyProxyProtocol(b *builder, s *scope, d *conf.Directive) error {
	on, err := onOff(d)
	if err != nil {
		return err
	}
	addresses := s.addresses
	if s.context == inServer {
		addresses = []string{"*:*"}
	}
	for _, a := range addresses {
		b.announce(announcedAt{a, on, d})
	}
	return nil
}

func (b *builder) announce(one announcedAt) {
	ip, port := splitAddress(one.address)
	for i, other := range b.announced.at {
		if oip, oport := splitAddress(other.address); oip != ip || oport != port {
			continue
		}
		if other.on != one.on {
			b.warn(one.by.Errorf("RemoteIPProxyProtocol for %s takes the place of that in line %d", one.address, other.by.Line))
		}
		b.announced.at[i] = one
		return
	}
	b.announced.at = append(b.announced.at, one)
}

// covers reports whether a connection that came in at an address begins with a
// header: some address that has it covers that one, and none that has it not.
func (a *announced) covers(ip, port string, peer netip.Addr) bool {
	for _, p := range a.exceptions {
		if p.Contains(peer) {
			return false
		}
	}
	covered := false
	for _, one := range a.at {
		if !coversAddress(one.address, ip, port) {
			continue
		}
		if !one.on {
			return false
		}
		covered = true
	}
	return covered
}

// announces reports whether a connection of a listener begins with a header.
func (st *generation) announces(listen string, c net.Conn) bool {
	if len(st.announced.at) == 0 {
		return false
	}
	ip, port := st.arrival(listen, c.LocalAddr().String())
	peer, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	return st.announced.covers(ip, port, peer.Addr().Unmap().WithZone(""))
}

// announceTimeout is how long the header of a connection may take: as long as
// the head of a request, or Timeout if that has no limit.
func (st *generation) announceTimeout(listen string) time.Duration {
	if limit := st.headTimeout(listen); limit > 0 {
		return limit
	}
	return said(st.hosts[0].settings.timeout, backend.DefaultTimeout)
}

// announced returns a listener that reads the headers of the connections that the
// current site says begin with one. It stays through a reload.
func (s *Site) announced(ln net.Listener, configured string, st *generation) net.Listener {
	return socketListener{&proxyprotocol.Listener{
		Listener: ln, HeaderTimeout: st.announceTimeout(configured), Logger: s.options.Logger,
		Trusts: func(c net.Conn) bool { return s.current.Load().announces(configured, c) },
	}}
}

// socketListener is a listener whose connections have been made to the address of
// their socket, whatever a header says: it is what chooses the virtual host, and
// what %A is, in httpd.
type socketListener struct{ *proxyprotocol.Listener }

func (l socketListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if announced, ok := c.(*proxyprotocol.Conn); ok {
		return socketConn{announced}, nil
	}
	return c, err
}

type socketConn struct{ *proxyprotocol.Conn }

func (c socketConn) LocalAddr() net.Addr { return c.Conn.Conn.LocalAddr() }

// announcedKey is where the context of a connection says that it began with a
// header.
type announcedKey struct{}

// noteAnnounced is the ConnContext of each server.
func noteAnnounced(ctx context.Context, c net.Conn) context.Context {
	if _, ok := c.(socketConn); ok {
		return context.WithValue(ctx, announcedKey{}, true)
	}
	return ctx
}
