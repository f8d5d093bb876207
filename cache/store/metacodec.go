package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"
)

// ErrDamaged is returned, wrapped with what is wrong, for stored bytes that are
// not what was stored: cut off, changed, or of another version.
var ErrDamaged = errors.New("cache: stored data is damaged")

// metaVersion opens encoded metadata. It changes whenever what follows means
// something else; older versions are damaged data, that is, not there.
const metaVersion = "mpm\x02"

// Flags of encoded metadata.
const (
	flagInvalid = 1 << iota
	flagTTL
)

// castagnoli is the polynomial that processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendBinary appends the encoded metadata: a version, the fields, and a
// CRC-32C of both. It implements encoding.BinaryAppender. Equal metadata gives
// equal bytes.
//
// Numbers are uvarints, signed ones zigzag; a string follows its length, a list
// its count; the names of a header are in order.
func (m *Meta) AppendBinary(b []byte) ([]byte, error) {
	start := len(b)
	b = append(b, metaVersion...)
	var flags uint64
	if m.Invalid {
		flags |= flagInvalid
	}
	if m.TTL != nil {
		flags |= flagTTL
	}
	b = binary.AppendUvarint(b, flags)
	b = encodeString(b, m.Key)
	b = binary.AppendVarint(b, int64(m.Status))
	b = encodeTime(b, m.RequestTime)
	b = encodeTime(b, m.ResponseTime)
	b = binary.AppendVarint(b, m.Length)
	b = binary.AppendUvarint(b, uint64(len(m.Parts)))
	for _, p := range m.Parts {
		b = binary.AppendVarint(b, p.Start)
		b = binary.AppendVarint(b, p.End)
	}
	if m.TTL != nil {
		b = binary.AppendVarint(b, int64(*m.TTL))
	}
	b = encodeStrings(b, m.Tags)
	for _, h := range []http.Header{m.Header, m.Trailer, m.Vary} {
		b = encodeHeader(b, h)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli)), nil
}

// MarshalBinary returns the encoded metadata; see AppendBinary.
func (m *Meta) MarshalBinary() ([]byte, error) { return m.AppendBinary(nil) }

func encodeString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func encodeStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = encodeString(b, s)
	}
	return b
}

func encodeTime(b []byte, t time.Time) []byte {
	return binary.AppendUvarint(binary.AppendVarint(b, t.Unix()), uint64(t.Nanosecond()))
}

func encodeHeader(b []byte, h http.Header) []byte {
	b = binary.AppendUvarint(b, uint64(len(h)))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		b = encodeStrings(encodeString(b, name), h[name])
	}
	return b
}

// UnmarshalBinary sets m to what was encoded. Any bytes but those that
// AppendBinary gives are ErrDamaged, and leave m as it was. It implements
// encoding.BinaryUnmarshaler. Times are in UTC; empty lists and headers are nil.
func (m *Meta) UnmarshalBinary(data []byte) error {
	d := metaDecoder{left: string(data)}
	switch {
	case len(data) < len(metaVersion)+4 || string(data[:len(metaVersion)]) != metaVersion:
		return fmt.Errorf("%w: not metadata of this version", ErrDamaged)
	case binary.LittleEndian.Uint32(data[len(data)-4:]) != crc32.Checksum(data[:len(data)-4], castagnoli):
		return fmt.Errorf("%w: checksum of metadata", ErrDamaged)
	}
	d.left = d.left[len(metaVersion) : len(data)-4]
	var n Meta
	flags := d.uvarint()
	n.Invalid = flags&flagInvalid != 0
	if flags&^(flagInvalid|flagTTL) != 0 {
		d.fail("flags")
	}
	n.Key = d.string()
	n.Status = d.int()
	n.RequestTime = d.time()
	n.ResponseTime = d.time()
	n.Length = d.varint()
	if count := d.count(2); count > 0 {
		n.Parts = make([]Part, count)
		for i := range n.Parts {
			n.Parts[i] = Part{d.varint(), d.varint()}
		}
	}
	if flags&flagTTL != 0 {
		ttl := time.Duration(d.varint())
		n.TTL = &ttl
	}
	n.Tags = d.strings()
	n.Header, n.Trailer, n.Vary = d.header(), d.header(), d.header()
	if d.left != "" {
		d.fail("length")
	}
	if d.wrong != "" {
		return fmt.Errorf("%w: %s in metadata", ErrDamaged, d.wrong)
	}
	m.set(&n)
	return nil
}

// metaDecoder takes encoded metadata from the front of left. Strings are parts
// of it: one allocation holds them all. After the first fault, which wrong
// names, it gives zeros.
type metaDecoder struct {
	left, wrong string
	values      []string // room for the values of headers
}

func (d *metaDecoder) fail(what string) {
	if d.wrong == "" {
		d.wrong = what
	}
	d.left = ""
}

func (d *metaDecoder) uvarint() uint64 {
	var v uint64
	for i := 0; i < len(d.left) && i < binary.MaxVarintLen64; i++ {
		c := d.left[i]
		if c >= 0x80 {
			v |= uint64(c&0x7f) << (7 * i)
			continue
		}
		if i == binary.MaxVarintLen64-1 && c > 1 || i > 0 && c == 0 {
			break // beyond 64 bits, or longer than need be
		}
		d.left = d.left[i+1:]
		return v | uint64(c)<<(7*i)
	}
	d.fail("number")
	return 0
}

func (d *metaDecoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *metaDecoder) int() int {
	v := d.varint()
	if int64(int(v)) != v {
		d.fail("number")
	}
	return int(v)
}

// count is the length of a list of things that take at least size bytes each.
// So a wrong one cannot ask for much more memory than there are bytes.
func (d *metaDecoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.left)/size) {
		d.fail("count")
		return 0
	}
	return int(n)
}

func (d *metaDecoder) string() string {
	n := d.count(1)
	s := d.left[:n]
	d.left = d.left[n:]
	return s
}

func (d *metaDecoder) strings() []string {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	list := d.room(n)
	for i := range list {
		list[i] = d.string()
	}
	return list
}

// room returns n strings, from one array for many lists.
func (d *metaDecoder) room(n int) []string {
	if n > len(d.values) {
		d.values = make([]string, max(n, 16))
	}
	list := d.values[:n:n]
	d.values = d.values[n:]
	return list
}

func (d *metaDecoder) time() time.Time {
	sec, nsec := d.varint(), d.uvarint()
	if nsec >= uint64(time.Second) || sec < math.MinInt64/2 || sec > math.MaxInt64/2 {
		d.fail("time")
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}

func (d *metaDecoder) header() http.Header {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	h := make(http.Header, n)
	for i, last := 0, ""; i < n && d.wrong == ""; i++ {
		name := d.string()
		if i > 0 && name <= last {
			d.fail("order of names")
			break
		}
		h[name] = d.strings()
		last = name
	}
	return h
}
