package store

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"hash/crc32"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	_ encoding.BinaryAppender    = (*Meta)(nil)
	_ encoding.BinaryMarshaler   = (*Meta)(nil)
	_ encoding.BinaryUnmarshaler = (*Meta)(nil)
)

// fullMeta sets every field.
func fullMeta() *Meta {
	return &Meta{
		Key:          "GET http://example.com/a?b=c",
		Status:       206,
		Header:       http.Header{"Etag": {`"x"`}, "Link": {"<a>", "<b>"}, "X-Empty": {""}},
		Trailer:      http.Header{"Digest": {"sha-256=…"}},
		Vary:         http.Header{"Accept-Encoding": {"gzip"}, "Cookie": nil},
		RequestTime:  time.Unix(1_700_000_000, 1).UTC(),
		ResponseTime: time.Unix(1_700_000_001, 999_999_999).UTC(),
		Length:       10_000,
		TTL:          ptr(90 * time.Second),
		Parts:        []Part{{0, 10}, {20, 10_000}},
		Tags:         []string{"product-1", "all"},
		Invalid:      true,
	}
}

func TestMetaRoundTrip(t *testing.T) {
	for name, m := range map[string]*Meta{
		"zero":    {},
		"full":    fullMeta(),
		"unknown": {Key: "k", Length: -1, Status: -5, RequestTime: time.Unix(-1, 5).UTC()},
		"extreme": {Length: math.MinInt64, Parts: []Part{{math.MaxInt64, math.MinInt64}}},
		"bytes":   {Key: "\x00\xff\n", Header: http.Header{"": {"\r\n", "\x80"}}},
		"huge":    {Header: http.Header{"Set-Cookie": slicesOf(2000, strings.Repeat("c", 1000))}},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := m.MarshalBinary()
			require.NoError(t, err)
			got := Meta{Key: "something else", Invalid: true, Tags: []string{"x"}, TTL: new(time.Duration)}
			require.NoError(t, got.UnmarshalBinary(data))
			require.Equal(t, m, &got)

			appended, err := m.AppendBinary([]byte("before"))
			require.NoError(t, err)
			require.Equal(t, "before"+string(data), string(appended))
		})
	}
}

func ptr(d time.Duration) *time.Duration { return &d }

func slicesOf(n int, s string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = s
	}
	return list
}

// TestMetaEveryField fails when a field is added to Meta that is not encoded.
func TestMetaEveryField(t *testing.T) {
	full := reflect.ValueOf(fullMeta()).Elem()
	for i := range full.NumField() {
		field := full.Type().Field(i)
		if !field.IsExported() {
			continue // derived
		}
		require.False(t, full.Field(i).IsZero(), "fullMeta leaves %s out", field.Name)
		var one, got Meta
		reflect.ValueOf(&one).Elem().Field(i).Set(full.Field(i))
		data, err := one.MarshalBinary()
		require.NoError(t, err)
		require.NoError(t, got.UnmarshalBinary(data))
		require.Equal(t, &one, &got, field.Name)
	}
}

// TestMetaEveryByte: no changed byte, no cut and no addition passes.
func TestMetaEveryByte(t *testing.T) {
	data, err := fullMeta().MarshalBinary()
	require.NoError(t, err)
	for i := range data {
		for bit := range 8 {
			bad := bytes.Clone(data)
			bad[i] ^= 1 << bit
			require.ErrorIs(t, new(Meta).UnmarshalBinary(bad), ErrDamaged, "byte %d bit %d", i, bit)
		}
		require.ErrorIs(t, new(Meta).UnmarshalBinary(data[:i]), ErrDamaged, "cut to %d", i)
	}
	require.ErrorIs(t, new(Meta).UnmarshalBinary(append(bytes.Clone(data), 0)), ErrDamaged)
}

// TestMetaStrict gives bytes whose checksum is right and whose contents are not.
func TestMetaStrict(t *testing.T) {
	sealed := func(fields ...byte) []byte {
		b := append([]byte(metaVersion), fields...)
		return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	}
	zero := make([]byte, 13)
	require.NoError(t, new(Meta).UnmarshalBinary(sealed(zero...)))
	with := func(at int, bytes ...byte) []byte {
		return sealed(append(append(append([]byte{}, zero[:at]...), bytes...), zero[at+1:]...)...)
	}
	// flags key status request(s ns) response(s ns) length parts tags header trailer vary
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"unknown flag":         {with(0, 4), "flags"},
		"long number":          {with(0, 0x80, 0), "number"},
		"number of 65 bits":    {with(0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2), "number"},
		"endless number":       {with(0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), "number"},
		"key beyond the end":   {with(1, 13), "count"},
		"nanoseconds":          {with(4, 0x80, 0x94, 0xeb, 0xdc, 3), "time"},
		"seconds":              {with(3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), "time"},
		"parts beyond the end": {with(8, 3), "count"},
		"many tags":            {with(9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), "count"},
		"same name twice":      {with(10, 2, 1, 'a', 0, 1, 'a', 0), "order of names"},
		"names not in order":   {with(10, 2, 1, 'b', 0, 1, 'a', 0), "order of names"},
		"more":                 {sealed(append(zero, 0)...), "length"},
		"less":                 {sealed(zero[:12]...), "number"},
	} {
		t.Run(name, func(t *testing.T) {
			m := Meta{Key: "as it was"}
			err := m.UnmarshalBinary(test.data)
			require.ErrorIs(t, err, ErrDamaged)
			require.ErrorContains(t, err, test.want)
			require.Equal(t, &Meta{Key: "as it was"}, &m)
		})
	}
}

// FuzzMetaUnmarshal: what is accepted is exactly what would be written.
func FuzzMetaUnmarshal(f *testing.F) {
	for _, m := range []*Meta{{}, fullMeta()} {
		data, err := m.MarshalBinary()
		require.NoError(f, err)
		f.Add(data[len(metaVersion) : len(data)-4])
	}
	f.Fuzz(func(t *testing.T, fields []byte) {
		require.ErrorIs(t, new(Meta).UnmarshalBinary(fields), ErrDamaged)

		// With a right version and checksum, to get beyond them.
		data := append([]byte(metaVersion), fields...)
		data = binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
		var m Meta
		if err := m.UnmarshalBinary(data); err != nil {
			require.ErrorIs(t, err, ErrDamaged)
			return
		}
		again, err := m.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, data, again)
	})
}

func BenchmarkMeta(b *testing.B) {
	m := fullMeta()
	data, _ := m.MarshalBinary()
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, len(data))
		for b.Loop() {
			buf, _ = m.AppendBinary(buf[:0])
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = m.UnmarshalBinary(data)
		}
	})
}
