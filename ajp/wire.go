package ajp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// nullString is the length of a string that is not there.
const nullString = 0xFFFF

// maxString is the length of the longest string.
const maxString = nullString - 1

// errTooLong is the cause when a string does not fit its length field. What is
// as long does not fit a packet either.
var errTooLong = errors.New("string is longer than 65534 bytes")

func appendInt(b []byte, v int) []byte { return append(b, byte(v>>8), byte(v)) }

// appendString appends a string with its length and NUL. The caller sees to it
// that it is not longer than maxString.
func appendString(b []byte, s string) []byte {
	b = appendInt(b, len(s))
	b = append(b, s...)
	return append(b, 0)
}

func putInt(b []byte, v int) { b[0], b[1] = byte(v>>8), byte(v) }

func getInt(b []byte) int { return int(b[0])<<8 | int(b[1]) }

// putHead writes the head of a packet: its magic number and the length of
// what follows.
func putHead(b []byte, magic, length int) {
	putInt(b, magic)
	putInt(b[2:], length)
}

// appendHead appends room for the head of a packet that begins there.
func appendHead(b []byte) []byte { return append(b, 0, 0, 0, 0) }

// packetSize returns the size to use for a configured one.
func packetSize(n int) int {
	switch {
	case n == 0:
		return DefaultPacketSize
	case n < DefaultPacketSize:
		return DefaultPacketSize // the specification's minimum
	}
	return min(n, MaxPacketSize)
}

// malformed is the error for a packet that is refused for its form.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{exchange.ErrMalformed}, args...)...)
}

// errShort is the cause when a packet ends inside one of its parts.
var errShort = malformed("packet ends before one of its parts")

// decoder takes the parts off the payload of a packet. After its first failure
// it returns zero values, and err tells why. Strings share the payload's
// memory.
type decoder struct {
	s   string
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.s = ""
}

func (d *decoder) byte() byte {
	if len(d.s) < 1 {
		d.fail(errShort)
		return 0
	}
	v := d.s[0]
	d.s = d.s[1:]
	return v
}

func (d *decoder) int() int {
	if len(d.s) < 2 {
		d.fail(errShort)
		return 0
	}
	v := int(d.s[0])<<8 | int(d.s[1])
	d.s = d.s[2:]
	return v
}

// string takes a string, or none: a null string is not present.
func (d *decoder) string() (s string, present bool) { return d.rest(d.int()) }

// rest takes a string whose length was taken already.
func (d *decoder) rest(n int) (s string, present bool) {
	if d.err != nil || n == nullString {
		return "", false
	}
	if n >= len(d.s) { // a NUL follows
		d.fail(errShort)
		return "", false
	}
	if d.s[n] != 0 {
		d.fail(malformed("string does not end with a NUL"))
		return "", false
	}
	s, d.s = d.s[:n], d.s[n+1:]
	return s, true
}

// name takes the name of a field: a code or a string.
func (d *decoder) name(coded []string) string {
	v := d.int()
	if v&0xFF00 == nameCode {
		if code := v & 0xFF; 1 <= code && code <= len(coded) {
			return coded[code-1]
		}
		d.fail(malformed("field has an unknown code"))
		return ""
	}
	s, ok := d.rest(v)
	if !ok && d.err == nil {
		d.fail(malformed("field without a name"))
	}
	return s
}

// hasBlankOrControl reports whether s has bytes that a target must not have.
func hasBlankOrControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return true
		}
	}
	return false
}

// fields collects fields into a map whose single values share one array.
type fields struct {
	h      map[string][]string
	values []string
}

// newFields makes room for n fields. What the peer claims is not believed
// beyond some.
func newFields(n int) fields {
	n = min(n, 64)
	return fields{make(map[string][]string, n), make([]string, 0, n)}
}

func (f *fields) add(name, value string) {
	name = textproto.CanonicalMIMEHeaderKey(name)
	if have, ok := f.h[name]; ok {
		f.h[name] = append(have, value)
		return
	}
	f.values = append(f.values, value)
	n := len(f.values)
	f.h[name] = f.values[n-1 : n : n]
}

// fields reads n fields, whose names may be codes for those in names.
func (d *decoder) fields(n int, names []string) (http.Header, error) {
	if n > len(d.s)/3 { // none is shorter
		return nil, errShort
	}
	f := newFields(n)
	for range n {
		name := d.name(names)
		value, _ := d.string()
		switch {
		case d.err != nil:
			return nil, d.err
		case !httpguts.ValidHeaderFieldName(name):
			return nil, malformed("field name is no token")
		case !httpguts.ValidHeaderFieldValue(value):
			return nil, malformed("value of a field has control bytes")
		}
		f.add(name, strings.Trim(value, " \t"))
	}
	return f.h, nil
}

// peekPacket looks at the head of the next packet from the container and
// returns its type and the length of its payload, type included. It checks the
// length against what the type allows; nothing is taken off r. io.EOF means
// that not a byte came.
func peekPacket(r *bufio.Reader, size int) (kind byte, length int, err error) {
	head, err := r.Peek(headSize + 1)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, 0, err
	}
	return packetHead(head, size)
}

// packetHead reads the head of a packet from the container and the byte behind
// it.
func packetHead(head []byte, size int) (kind byte, length int, err error) {
	if getInt(head) != toProxy {
		return 0, 0, malformed("packet does not begin with AB")
	}
	kind, length = head[headSize], getInt(head[2:])
	if length > size-headSize {
		return 0, 0, malformed("packet of %d bytes, where %d are allowed", length+headSize, size)
	}
	ok := false
	switch kind {
	case typeSendBodyChunk:
		ok = length >= 3
	case typeSendHeaders:
		ok = length >= 1+2+2+2
	case typeEndResponse:
		ok = length == 2
	case typeGetBodyChunk:
		ok = length == 3
	case typeCPong:
		ok = length == 1
	default:
		return 0, 0, malformed("packet of unknown type %d", kind)
	}
	if !ok {
		return 0, 0, malformed("packet of type %d has a length of %d", kind, length)
	}
	return kind, length, nil
}

// payload returns the payload of the packet that was peeked at, behind its
// type, as a string of its own, and takes the packet off r.
func payload(r *bufio.Reader, length int) (string, error) {
	whole := headSize + length
	if whole <= r.Size() {
		b, err := r.Peek(whole)
		if err != nil {
			return "", unexpected(err)
		}
		s := string(b[headSize+1:])
		_, _ = r.Discard(whole)
		return s, nil
	}
	_, _ = r.Discard(headSize + 1)
	b := make([]byte, length-1)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", unexpected(err)
	}
	return string(b), nil
}

// chunkData returns the length of the data in a SEND_BODY_CHUNK packet and the
// number of bytes behind them: a NUL, which some containers leave out.
func chunkData(length, data int) (pad int, err error) {
	pad = length - 3 - data
	if pad != 0 && pad != 1 {
		return 0, malformed("packet of %d bytes has a chunk of %d", length, data)
	}
	return pad, nil
}

// unexpected makes an end of the connection inside a message an error.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
