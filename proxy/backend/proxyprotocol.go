package backend

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/modproxy/modproxy/proxy/internal/contextkey"
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
	Source      netip.AddrPort // the client
	Destination netip.AddrPort // where it connected to
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
// such as http.Request.RemoteAddr and the value of http.LocalAddrContextKey.
func ClientFrom(remote string, local net.Addr) Client {
	src, err := netip.ParseAddrPort(remote)
	if err != nil {
		return Client{}
	}
	c := Client{Source: netip.AddrPortFrom(src.Addr().Unmap(), src.Port())}
	if a, ok := local.(*net.TCPAddr); ok {
		dst := a.AddrPort()
		c.Destination = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
	}
	return c
}

var v2Signature = [12]byte{'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'}

// write sends the header for client.
func (v ProxyProtocol) write(w io.Writer, client Client) error {
	b, err := v.header(client)
	if err == nil {
		_, err = w.Write(b)
	}
	if err != nil {
		return fmt.Errorf("PROXY header: %w", err)
	}
	return nil
}

// header encodes the header; a client without two addresses of one family is
// announced as unknown.
func (v ProxyProtocol) header(client Client) ([]byte, error) {
	src, dst := client.Source, client.Destination
	known := src.IsValid() && dst.IsValid() && src.Addr().Is4() == dst.Addr().Is4()
	switch v {
	case ProxyProtocolV1:
		if !known {
			return []byte("PROXY UNKNOWN\r\n"), nil
		}
		family := "TCP6"
		if src.Addr().Is4() {
			family = "TCP4"
		}
		return fmt.Appendf(nil, "PROXY %s %s %s %d %d\r\n", family,
			src.Addr().WithZone(""), dst.Addr().WithZone(""), src.Port(), dst.Port()), nil
	case ProxyProtocolV2:
		b := append([]byte(nil), v2Signature[:]...)
		if !known {
			return append(b, 0x20, 0, 0, 0), nil // LOCAL, unspecified
		}
		family := byte(0x21) // TCP over IPv6
		if src.Addr().Is4() {
			family = 0x11
		}
		s, d := src.Addr().AsSlice(), dst.Addr().AsSlice()
		b = append(b, 0x21, family)
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)+len(d)+4))
		b = append(append(b, s...), d...)
		b = binary.BigEndian.AppendUint16(b, src.Port())
		return binary.BigEndian.AppendUint16(b, dst.Port()), nil
	}
	return nil, fmt.Errorf("unknown version %d", v)
}
