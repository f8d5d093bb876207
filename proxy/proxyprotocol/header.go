package proxyprotocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Header is what a proxy tells of the connection that it passes on.
type Header struct {
	// Version is 1 (a line of text) or 2 (binary).
	Version int

	// Source is the client. It is not valid if the proxy speaks for nobody, as in
	// a health check (LOCAL), or does not tell for whom (UNKNOWN).
	Source netip.AddrPort

	// Destination is where the client has connected to. [Header.Append] tells an
	// unspecified address of Source's family if it is not valid.
	Destination netip.AddrPort

	// TLVs are further facts, of version 2 alone.
	TLVs []TLV
}

// TLV is one further fact of a header of version 2.
type TLV struct {
	Type  byte
	Value []byte
}

// The types of a [TLV] that HAProxy's proxy-protocol.txt names PP2_TYPE_….
const (
	TypeALPN      = 0x01 // the protocol that the client and the proxy speak, such as "h2"
	TypeAuthority = 0x02 // the name that the client asked for (SNI)
	TypeUniqueID  = 0x05 // of the connection or request, up to 128 bytes
	TypeSSL       = 0x20 // the client's TLS; see ParseSSL
)

const (
	typeCRC32C = 0x03
	typeNoop   = 0x04
)

var v2Signature = [12]byte{'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'}

const (
	v2Head   = 16 // signature, command, family, length
	v2Local  = 0x20
	v2Proxy  = 0x21
	v2TCP4   = 0x11
	v2TCP6   = 0x21
	v2Length = 1<<16 - 1
)

// Value returns the value of the first TLV of a type.
func (h *Header) Value(kind byte) (value []byte, ok bool) {
	for _, t := range h.TLVs {
		if t.Type == kind {
			return t.Value, true
		}
	}
	return nil, false
}

// Append appends the header as it is sent. Addresses of two families are told as
// of IPv6, that of IPv4 mapped into it, as HAProxy does. It fails for other versions
// than 1 and 2, for TLVs in version 1, and for more of them than fit.
func (h *Header) Append(dst []byte) ([]byte, error) {
	src, to := h.addresses()
	switch {
	case h.Version == 1 && len(h.TLVs) > 0:
		return nil, errors.New("PROXY protocol version 1 has no TLVs")
	case h.Version == 1 && !src.IsValid():
		return append(dst, "PROXY UNKNOWN\r\n"...), nil
	case h.Version == 1:
		family := "TCP6"
		if src.Addr().Is4() {
			family = "TCP4"
		}
		return fmt.Appendf(dst, "PROXY %s %s %s %d %d\r\n", family, src.Addr(), to.Addr(), src.Port(), to.Port()), nil
	case h.Version != 2:
		return nil, fmt.Errorf("PROXY protocol has no version %d", h.Version)
	}
	dst = append(dst, v2Signature[:]...)
	if !src.IsValid() {
		return append(dst, v2Local, 0, 0, 0), nil
	}
	family := byte(v2TCP6)
	if src.Addr().Is4() {
		family = v2TCP4
	}
	dst = append(dst, v2Proxy, family, 0, 0)
	begin := len(dst)
	dst = append(append(dst, src.Addr().AsSlice()...), to.Addr().AsSlice()...)
	dst = binary.BigEndian.AppendUint16(dst, src.Port())
	dst = binary.BigEndian.AppendUint16(dst, to.Port())
	for _, t := range h.TLVs {
		if len(t.Value) > v2Length {
			return nil, fmt.Errorf("TLV of type %#x has %d bytes", t.Type, len(t.Value))
		}
		dst = appendTLV(dst, t.Type, string(t.Value))
	}
	length := len(dst) - begin
	if length > v2Length {
		return nil, fmt.Errorf("PROXY header of %d bytes", length)
	}
	binary.BigEndian.PutUint16(dst[begin-2:], uint16(length))
	return dst, nil
}

func appendTLV(dst []byte, kind byte, value string) []byte {
	dst = append(dst, kind)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(value)))
	return append(dst, value...)
}

// addresses returns both addresses in one family and without a zone; neither is
// valid if it is not known who the client is.
func (h *Header) addresses() (src, dst netip.AddrPort) {
	if !h.Source.IsValid() {
		return src, dst
	}
	from, to := h.Source.Addr().Unmap().WithZone(""), h.Destination.Addr().Unmap().WithZone("")
	port := h.Destination.Port()
	if !to.IsValid() {
		to, port = netip.IPv6Unspecified(), 0
		if from.Is4() {
			to = netip.IPv4Unspecified()
		}
	}
	if from.Is4() != to.Is4() {
		from, to = netip.AddrFrom16(from.As16()), netip.AddrFrom16(to.As16())
	}
	return netip.AddrPortFrom(from, h.Source.Port()), netip.AddrPortFrom(to, port)
}
