package proxyprotocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ErrMalformed is what all errors are that say what is wrong with a header.
var ErrMalformed = errors.New("malformed PROXY header")

// errNoHeader says that what has come begins no header.
var errNoHeader = fmt.Errorf("%w: the connection begins with something else", ErrMalformed)

const (
	shortest = 15   // of all headers: "PROXY UNKNOWN\r\n"
	longest1 = 107  // of version 1
	chunk    = 4096 // the memory that is taken before something comes to fill it
)

var v1Signature = []byte("PROXY ")

// read reads a header from r, and not a byte more. It returns what it has read,
// too, which begins no header if the error is errNoHeader.
func read(r io.Reader) (h *Header, got []byte, err error) {
	got = make([]byte, 0, longest1+1)
	for {
		want, err := missing(got)
		if err != nil {
			return nil, got, err
		}
		if want == 0 {
			break
		}
		want = min(want, chunk)
		got = slices.Grow(got, want)
		n, err := r.Read(got[len(got) : len(got)+want])
		got = got[:len(got)+n]
		if n == 0 && err != nil {
			if err == io.EOF && len(got) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, got, err
		}
	}
	if got[0] == v2Signature[0] {
		h, err = parse2(got)
	} else {
		h, err = parse1(string(got))
	}
	return h, got, err
}

// missing returns how many bytes the header that begins with got has more, at
// least; 0 if that is all of it.
func missing(got []byte) (int, error) {
	switch {
	case begins(got, v2Signature[:]) && len(got) < shortest:
		return shortest - len(got), nil
	case bytes.HasPrefix(got, v2Signature[:]) && len(got) < v2Head:
		return v2Head - len(got), nil
	case bytes.HasPrefix(got, v2Signature[:]):
		return v2Head + int(binary.BigEndian.Uint16(got[v2Head-2:])) - len(got), nil
	case !begins(got, v1Signature):
		return 0, errNoHeader
	case len(got) < shortest:
		return shortest - len(got), nil
	}
	at := bytes.IndexByte(got, '\r')
	switch {
	case at >= 0 && at == len(got)-2 && got[at+1] == '\n':
		return 0, nil
	case at >= 0 && at < len(got)-1, bytes.IndexByte(got, '\n') >= 0:
		return 0, fmt.Errorf("%w: a line that does not end in CR LF", ErrMalformed)
	case len(got) >= longest1:
		return 0, fmt.Errorf("%w: a line of more than %d bytes", ErrMalformed, longest1)
	case at >= 0:
		return 1, nil
	}
	least := len("\r\n")
	if bytes.HasPrefix(got, []byte("PROXY TCP")) {
		// There are five blanks, and something behind each.
		least += 2 * max(5-bytes.Count(got, []byte(" ")), 0)
		if got[len(got)-1] == ' ' {
			least++
		}
	}
	return min(least, longest1-len(got)), nil
}

// begins reports whether got is a begin of a header with that signature.
func begins(got, signature []byte) bool {
	n := min(len(got), len(signature))
	return bytes.Equal(got[:n], signature[:n])
}

// parse1 reads a whole header of version 1.
func parse1(line string) (*Header, error) {
	h := &Header{Version: 1}
	words := strings.Split(strings.TrimSuffix(line, "\r\n"), " ")
	if words[1] == "UNKNOWN" {
		return h, nil // whatever follows
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return nil, fmt.Errorf("%w: %q", ErrMalformed, line)
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		addr, err := netip.ParseAddr(words[2+i])
		if err != nil || addr.Zone() != "" || addr.Is4() != (words[1] == "TCP4") {
			return nil, fmt.Errorf("%w: %q is no address of %s", ErrMalformed, words[2+i], words[1])
		}
		port, err := strconv.ParseUint(words[4+i], 10, 16)
		if err != nil || words[4+i][0] == '0' && len(words[4+i]) > 1 {
			return nil, fmt.Errorf("%w: %q is no port", ErrMalformed, words[4+i])
		}
		ends[i] = netip.AddrPortFrom(addr.Unmap(), uint16(port))
	}
	h.Source, h.Destination = ends[0], ends[1]
	return h, nil
}

// parse2 reads a whole header of version 2.
func parse2(b []byte) (*Header, error) {
	h := &Header{Version: 2}
	command, family, rest := b[12], b[13], b[v2Head:]
	switch command {
	case v2Local:
		return h, nil // the rest means nothing
	case v2Proxy:
	default:
		return nil, fmt.Errorf("%w: version and command %#x", ErrMalformed, command)
	}
	size := 0 // of an address
	switch {
	case family&0x0f > 2:
		return nil, fmt.Errorf("%w: family %#x", ErrMalformed, family)
	case family>>4 == 1:
		size = 4
	case family>>4 == 2:
		size = 16
	case family>>4 == 3: // paths of sockets name no client
		const paths = 2 * 108
		if len(rest) < paths {
			return nil, fmt.Errorf("%w: %d bytes of addresses", ErrMalformed, len(rest))
		}
		rest = rest[paths:]
	case family>>4 > 3:
		return nil, fmt.Errorf("%w: family %#x", ErrMalformed, family)
	}
	if size > 0 {
		if len(rest) < 2*size+4 {
			return nil, fmt.Errorf("%w: %d bytes of addresses", ErrMalformed, len(rest))
		}
		src, _ := netip.AddrFromSlice(rest[:size])
		dst, _ := netip.AddrFromSlice(rest[size : 2*size])
		ports := rest[2*size:]
		h.Source = netip.AddrPortFrom(src.Unmap(), binary.BigEndian.Uint16(ports))
		h.Destination = netip.AddrPortFrom(dst.Unmap(), binary.BigEndian.Uint16(ports[2:]))
		rest = ports[4:]
	}
	sum := -1 // where the checksum is
	left := rest
	err := eachTLV(rest, func(kind byte, value []byte) {
		switch {
		case kind == typeCRC32C && sum < 0:
			sum = len(b) - len(left) + 3
			if len(value) != 4 {
				sum = 0
			}
		case kind != typeNoop && kind != typeCRC32C:
			h.TLVs = append(h.TLVs, TLV{kind, value})
		}
		left = left[3+len(value):]
	})
	if err == nil && (sum == 0 || sum > 0 && !intact(b, sum)) {
		err = fmt.Errorf("%w: its checksum is another", ErrMalformed)
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// intact reports whether the checksum at b[at:] is that of b with zeros in its
// place.
func intact(b []byte, at int) bool {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Update(crc32.Checksum(b[:at], table), table, make([]byte, 4)), table, b[at+4:])
	return sum == binary.BigEndian.Uint32(b[at:])
}
