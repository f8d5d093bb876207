package ajp

import (
	"errors"
	"fmt"

	"github.com/modproxy/modproxy/proxy"
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
	return fmt.Errorf("%w: "+format, append([]any{proxy.ErrMalformed}, args...)...)
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
