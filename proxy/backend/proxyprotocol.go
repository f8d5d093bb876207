package backend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/modproxy/modproxy/proxy/internal/contextkey"
	"github.com/modproxy/modproxy/proxy/proxyprotocol"
)

// ProxyProtocol is the version of the PROXY protocol header that announces a
// client to the backend (HAProxy's proxy-protocol.txt).
type ProxyProtocol int

const (
	NoProxyProtocol ProxyProtocol = iota
	ProxyProtocolV1               // one line of text
	ProxyProtocolV2               // binary
)

// Client is the client on whose behalf a connection is opened.
type Client struct {
	Source      netip.AddrPort       // the client
	Destination netip.AddrPort       // where it connected to; not valid where that is no address
	TLS         *tls.ConnectionState // what it speaks TLS with; nil if it does not
}

// WithClient returns a context that tells Get who the client is.
func WithClient(ctx context.Context, c Client) context.Context {
	return context.WithValue(ctx, contextkey.Client{}, c)
}

// ClientOf returns the client given to [WithClient], or else the zero Client,
// which is announced as unknown.
func ClientOf(ctx context.Context) Client {
	c, _ := ctx.Value(contextkey.Client{}).(Client)
	return c
}

// ClientFrom builds a Client from the addresses of the client's connection,
// such as http.Request.RemoteAddr, also without a port, and the value of
// http.LocalAddrContextKey.
func ClientFrom(remote string, local net.Addr) Client {
	src, err := netip.ParseAddrPort(remote)
	if err != nil {
		addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(remote, "["), "]"))
		if err != nil {
			return Client{}
		}
		src = netip.AddrPortFrom(addr, 0)
	}
	c := Client{Source: netip.AddrPortFrom(src.Addr().Unmap(), src.Port())}
	if a, ok := local.(*net.TCPAddr); ok {
		dst := a.AddrPort()
		c.Destination = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
	}
	return c
}

// checkProxyProtocol says what is wrong with the fields about the PROXY protocol.
func (b *Backend) checkProxyProtocol() error {
	switch {
	case b.ProxyProtocol < NoProxyProtocol || b.ProxyProtocol > ProxyProtocolV2:
		return fmt.Errorf("backend: PROXY protocol has no version %d", b.ProxyProtocol)
	case b.ProxyProtocol != ProxyProtocolV2 && (len(b.ProxyProtocolTLVs) > 0 || b.UniqueID != nil):
		return errors.New("backend: ProxyProtocolTLVs and UniqueID need ProxyProtocolV2")
	}
	for _, kind := range b.ProxyProtocolTLVs {
		switch kind {
		case proxyprotocol.TypeALPN, proxyprotocol.TypeAuthority, proxyprotocol.TypeSSL:
		case proxyprotocol.TypeUniqueID:
			return errors.New("backend: a unique id is sent if UniqueID is set, and is not listed in ProxyProtocolTLVs")
		default:
			return fmt.Errorf("backend: ProxyProtocolTLVs of type %#x are not known", kind)
		}
	}
	return nil
}

// longestID is the length that the PROXY protocol allows.
const longestID = 128

// announcement returns the PROXY header for the client of ctx, and who that is.
func (b *Backend) announcement(ctx context.Context) (header string, source netip.AddrPort, err error) {
	h := proxyprotocol.Header{Version: int(b.ProxyProtocol)}
	if client := ClientOf(ctx); client.Source.IsValid() && !IsCheck(ctx) {
		h.Source, h.Destination = client.Source, client.Destination
		for _, kind := range b.ProxyProtocolTLVs {
			if value := client.fact(kind); len(value) > 0 {
				h.TLVs = append(h.TLVs, proxyprotocol.TLV{Type: kind, Value: value})
			}
		}
		if b.UniqueID != nil {
			id := b.UniqueID(ctx)
			if len(id) > longestID {
				return "", source, fmt.Errorf("backend: unique id of %d bytes, which may have %d", len(id), longestID)
			}
			if id != "" {
				h.TLVs = append(h.TLVs, proxyprotocol.TLV{Type: proxyprotocol.TypeUniqueID, Value: []byte(id)})
			}
		}
	}
	text, err := h.Append(nil)
	return string(text), h.Source, err
}

// fact returns the value of a TLV.
func (c Client) fact(kind byte) []byte {
	if kind == proxyprotocol.TypeSSL {
		return c.ssl().Append(nil)
	}
	switch {
	case c.TLS == nil:
		return nil
	case kind == proxyprotocol.TypeALPN:
		return []byte(c.TLS.NegotiatedProtocol)
	}
	return []byte(c.TLS.ServerName)
}

// ssl tells of the client's TLS. A name is told of a certificate that was verified
// alone.
func (c Client) ssl() proxyprotocol.SSL {
	if c.TLS == nil {
		return proxyprotocol.SSL{}
	}
	s := proxyprotocol.SSL{
		TLS: true, Certificate: len(c.TLS.PeerCertificates) > 0, Verified: len(c.TLS.VerifiedChains) > 0,
		Version: strings.TrimSuffix(strings.Replace(tls.VersionName(c.TLS.Version), " ", "v", 1), ".0"), Cipher: tls.CipherSuiteName(c.TLS.CipherSuite),
	}
	if s.Verified {
		const most = 256 // RFC 5280 has 64
		if name := c.TLS.PeerCertificates[0].Subject.CommonName; len(name) <= most {
			s.CommonName = name
		}
	}
	return s
}
