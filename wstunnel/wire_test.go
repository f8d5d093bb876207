package wstunnel

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFraming: where messages end, however the bytes are cut.
func TestFraming(t *testing.T) {
	for name, tc := range map[string]struct {
		masked  bool
		bytes   string
		whole   int // of all the bytes
		between bool
	}{
		"nothing":                 {false, "", 0, true},
		"empty text":              {false, "\x81\x00", 2, true},
		"text":                    {false, "\x81\x02hi", 4, true},
		"two":                     {false, "\x81\x02hi\x82\x01x", 7, true},
		"half a head":             {false, "\x81\x02hi\x82", 4, false},
		"half a payload":          {false, "\x81\x02hi\x82\x02x", 4, false},
		"16 bits":                 {false, "\x82\x7e\x00\x80" + strings.Repeat("x", 128), 132, true},
		"half of 16 bits":         {false, "\x82\x7e\x00", 0, false},
		"64 bits":                 {false, "\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x03abc", 13, true},
		"64 bits, cut":            {false, "\x82\x7f\x00\x00\x00\x01\x00\x00\x00\x00abc", 0, false},
		"too long for a frame":    {false, "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00abc", 0, false},
		"masked":                  {true, "\x81\x82\x01\x02\x03\x04hi", 8, true},
		"half a mask":             {true, "\x81\x82\x01\x02", 0, false},
		"masked that must not be": {false, "\x81\x82\x01\x02\x03\x04hi", 0, false},
		"unmasked":                {true, "\x81\x02hi", 0, false},
		"fragments":               {false, "\x01\x01a\x00\x01b\x80\x01c", 9, true},
		"fragments to come":       {false, "\x81\x00\x01\x01a\x00\x01b", 2, false},
		"Ping between fragments":  {false, "\x01\x01a\x89\x00\x80\x01c", 8, true},
		"Ping":                    {false, "\x89\x04ping", 6, true},
		"Close":                   {false, "\x81\x00\x88\x02\x03\xe8", 2, false},
		"behind a Close":          {false, "\x88\x00\x81\x00", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			for size := 1; size <= max(len(tc.bytes), 1); size++ {
				f := &framing{masked: tc.masked}
				whole := 0
				for at := 0; at < len(tc.bytes); at += size {
					if n := f.Follow([]byte(tc.bytes[at:min(at+size, len(tc.bytes))])); n > 0 {
						whole = at + n
					}
				}
				require.Equal(t, tc.whole, whole, "in pieces of %d", size)
				require.Equal(t, tc.between, f.Between(), "in pieces of %d", size)
			}
		})
	}
}

// TestFramingSkips: a payload need not be seen.
func TestFramingSkips(t *testing.T) {
	f := &framing{}
	require.Zero(t, f.Payload())
	require.Zero(t, f.Follow([]byte("\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x00abc")))
	require.EqualValues(t, 1<<20-3, f.Payload())
	f.Skip(1 << 19)
	require.False(t, f.Between())
	f.Skip(1<<19 - 3)
	require.True(t, f.Between())
	require.Equal(t, 2, f.Follow([]byte("\x81\x00")))
	f.Follow([]byte("\xff\xff"))
	require.EqualValues(t, math.MaxInt64, f.Payload(), "no frame at all: let it pass")
	f.Skip(100)
	require.Zero(t, f.Follow([]byte("\x81\x00")))
	require.False(t, f.Between())
}

func TestCloseFrame(t *testing.T) {
	require.Equal(t, []byte("\x88\x02\x03\xe9"), closeFrame(1001, nil))
	b := closeFrame(1001, []byte{1, 2, 3, 4})
	require.Equal(t, []byte("\x88\x82\x01\x02\x03\x04\x02\xeb"), b)
	require.Equal(t, "\x03\xe9", unmask(b))
}

// FuzzFraming: bytes of all kinds, cut in all ways, lead to the same.
func FuzzFraming(f *testing.F) {
	for _, seed := range []string{
		"\x81\x02hi", "\x81\x82\x01\x02\x03\x04hi", "\x01\x01a\x89\x00\x80\x01c", "\x82\x7e\x00\x02xx\x88\x02\x03\xe8\x81\x00",
		"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x03abc\x81", "\x82\x7f\xff\x00\x00\x00\x00\x00\x00\x03abc\x81",
	} {
		f.Add([]byte(seed), false, uint8(3))
		f.Add([]byte(seed), true, uint8(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, masked bool, size uint8) {
		whole := &framing{masked: masked}
		end := whole.Follow(b)
		if end < 0 || end > len(b) {
			t.Fatalf("the end of a message is at %d of %d", end, len(b))
		}
		if end == len(b) && len(b) > 0 && !whole.Between() {
			t.Fatal("all has passed, but not all of a message")
		}
		cut := &framing{masked: masked}
		at, cutEnd := 0, 0
		for rest := b; len(rest) > 0; {
			if n := cut.Payload(); n > 0 && size%2 == 0 { // not all of it is seen
				n := int(min(n, int64(len(rest)), int64(size)+1))
				cut.Skip(int64(n))
				if rest, at = rest[n:], at+n; cut.Between() {
					cutEnd = at
				}
				continue
			}
			n := min(int(size)+1, len(rest))
			if e := cut.Follow(rest[:n]); e > 0 {
				cutEnd = at + e
			}
			rest, at = rest[n:], at+n
		}
		if cutEnd != end || cut.Between() != whole.Between() || cut.Payload() != whole.Payload() {
			t.Fatalf("in pieces of %d: end %d, between %v, payload %d; whole: %d, %v, %d",
				size, cutEnd, cut.Between(), cut.Payload(), end, whole.Between(), whole.Payload())
		}
	})
}

// FuzzExtensions: what is understood is written the same way again.
func FuzzExtensions(f *testing.F) {
	for _, seed := range []string{deflate, "permessage-deflate; client_max_window_bits=\"1\\5\", x", "a,,b;c", ";", "a;b=\"", "a; b = c ,d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseExtensions([]string{s})
		if err != nil {
			return
		}
		var b bytes.Buffer
		for i, e := range list {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(e.name)
			for _, p := range e.params {
				b.WriteString("; " + p.name)
				if p.valued {
					b.WriteString("=" + p.value)
				}
			}
			_ = e.acceptsDeflate()
			_ = e.checkDeflate()
		}
		again, err := parseExtensions([]string{b.String()})
		require.NoError(t, err)
		require.Equal(t, list, again)
	})
}

// FuzzSubprotocols: what is understood is a list of different tokens.
func FuzzSubprotocols(f *testing.F) {
	for _, seed := range []string{"chat", "chat, superchat", ",a,", "a b", "a,a", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseSubprotocols([]string{s})
		if err != nil {
			return
		}
		again, err := parseSubprotocols([]string{strings.Join(list, ", ")})
		require.NoError(t, err)
		require.Equal(t, list, again)
	})
}

// TestOriginFits compares origins with those allowed.
func TestOriginFits(t *testing.T) {
	for _, tc := range []struct {
		allowed, origin string
		fits            bool
	}{
		{"https://a.test", "https://A.test", true}, {"https://a.test", "https://a.test:8443", false}, {"https://a.test:8443", "https://a.test:8443", true},
		{"https://*.a.test", "https://x.a.test", true}, {"https://*.a.test", "https://x.y.a.test", true}, {"https://*.a.test", "https://.a.test", false},
		{"https://*.a.test", "https://x.a.test.evil.test", false}, {"https://*.a.test", "https://u@x.a.test", false}, {"self", "http://host.test", true},
		{"self", "https://HOST.test", true}, {"self", "http://host.test:81", false}, {"self", "null", false}, {"null", "null", true}, {"self", "", false}, {"self", "http://host.test/", false},
	} {
		require.Equal(t, tc.fits, originFits(tc.allowed, tc.origin, "host.test"), "%s for %s", tc.origin, tc.allowed)
	}
}
