package proxyprotocol

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

const sig = "\r\n\r\n\x00\r\nQUIT\n"

// TestAppend: whoever the client is, and wherever it has arrived, it is told.
func TestAppend(t *testing.T) {
	const (
		v4, to4   = "192.0.2.1:4321", "198.51.100.2:443"
		v6, to6   = "[2001:db8::1]:4321", "[2001:db8::2]:443"
		mapped    = "[::ffff:192.0.2.1]:4321"
		linkLocal = "[fe80::1%eth0]:4321"
	)
	for name, tc := range map[string]struct{ src, dst, v1, v2 string }{
		"IPv4":                    {v4, to4, "TCP4 192.0.2.1 198.51.100.2 4321 443", "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\xe1\x01\xbb"},
		"IPv4 mapped":             {mapped, to4, "TCP4 192.0.2.1 198.51.100.2 4321 443", "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\xe1\x01\xbb"},
		"IPv6":                    {v6, to6, "TCP6 2001:db8::1 2001:db8::2 4321 443", ""},
		"IPv6 of an IPv4 front":   {v6, to4, "TCP6 2001:db8::1 ::ffff:198.51.100.2 4321 443", ""},
		"IPv4 of an IPv6 front":   {v4, to6, "TCP6 ::ffff:192.0.2.1 2001:db8::2 4321 443", ""},
		"IPv4 of a socket's file": {v4, "", "TCP4 192.0.2.1 0.0.0.0 4321 0", "\x21\x11\x00\x0c\xc0\x00\x02\x01\x00\x00\x00\x00\x10\xe1\x00\x00"},
		"IPv6 of a socket's file": {v6, "", "TCP6 2001:db8::1 :: 4321 0", ""},
		"with a zone":             {linkLocal, "[fe80::2%eth0]:80", "TCP6 fe80::1 fe80::2 4321 80", ""},
		"with a zone, to IPv4":    {linkLocal, to4, "TCP6 fe80::1 ::ffff:198.51.100.2 4321 443", ""},
		"nobody":                  {"", to4, "UNKNOWN", "\x20\x00\x00\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			h := Header{Version: 1}
			if tc.src != "" {
				h.Source = netip.MustParseAddrPort(tc.src)
			}
			if tc.dst != "" {
				h.Destination = netip.MustParseAddrPort(tc.dst)
			}
			b, err := h.Append(nil)
			require.NoError(t, err)
			require.Equal(t, "PROXY "+tc.v1+"\r\n", string(b))
			first, _, err := read(bytes.NewReader(b))
			require.NoError(t, err)
			h.Version = 2
			b, err = h.Append(nil)
			require.NoError(t, err)
			if tc.v2 != "" {
				require.Equal(t, sig+tc.v2, string(b))
			}
			second, _, err := read(bytes.NewReader(b))
			require.NoError(t, err)
			require.Equal(t, first.Source, second.Source)
			require.Equal(t, first.Destination, second.Destination)
		})
	}
	v := netip.MustParseAddrPort(v4)
	for name, h := range map[string]Header{
		"no version":        {Source: v},
		"unknown version":   {Version: 3, Source: v},
		"TLVs in version 1": {Version: 1, Source: v, TLVs: []TLV{{TypeALPN, []byte("h2")}}},
		"a TLV too long":    {Version: 2, Source: v, TLVs: []TLV{{TypeALPN, make([]byte, 1<<16)}}},
		"TLVs too long":     {Version: 2, Source: v, TLVs: []TLV{{1, make([]byte, 40<<10)}, {2, make([]byte, 40<<10)}}},
	} {
		_, err := h.Append(nil)
		require.Error(t, err, name)
	}
}

// withSum is a header of version 2 with a checksum, which is wrong by some bits.
func withSum(wrong byte) string {
	b := []byte(sig + "\x21\x11\x00\x18\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\xe1\x01\xbb" + "\x03\x00\x04\x00\x00\x00\x00" + "\x01\x00\x02h2")
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	copy(b[31:], []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum) ^ wrong})
	return string(b)
}

// TestRead: a header is read to its last byte and not beyond, in whatever pieces it
// comes.
func TestRead(t *testing.T) {
	src, dst := netip.MustParseAddrPort("192.0.2.1:4321"), netip.MustParseAddrPort("198.51.100.2:443")
	paths := strings.Repeat("p", 216)
	for text, want := range map[string]Header{
		"PROXY TCP4 192.0.2.1 198.51.100.2 4321 443\r\n":                         {Version: 1, Source: src, Destination: dst},
		"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n":                                     {Version: 1, Source: netip.MustParseAddrPort("1.1.1.1:1"), Destination: netip.MustParseAddrPort("1.1.1.1:1")},
		"PROXY TCP6 :: :: 0 0\r\n":                                               {Version: 1, Source: netip.MustParseAddrPort("[::]:0"), Destination: netip.MustParseAddrPort("[::]:0")},
		"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 4321 65535\r\n":                 {Version: 1, Source: src, Destination: netip.MustParseAddrPort("[2001:db8::2]:65535")},
		"PROXY UNKNOWN\r\n":                                                      {Version: 1},
		"PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n":                      {Version: 1},
		sig + "\x20\x00\x00\x00":                                                 {Version: 2},
		sig + "\x20\x11\x00\x03abc":                                              {Version: 2},
		sig + "\x21\x00\x00\x00":                                                 {Version: 2},
		sig + "\x21\x31\x00\xd8" + paths:                                         {Version: 2},
		sig + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\xe1\x01\xbb": {Version: 2, Source: src, Destination: dst},
		sig + "\x21\x11\x00\x14\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\xe1\x01\xbb\x04\x00\x00\x02\x00\x02ab": {Version: 2, Source: src, Destination: dst, TLVs: []TLV{{TypeAuthority, []byte("ab")}}},
		withSum(0): {Version: 2, Source: src, Destination: dst, TLVs: []TLV{{TypeALPN, []byte("h2")}}},
	} {
		for _, slow := range []bool{false, true} {
			var r io.Reader = strings.NewReader(text + "GET / HTTP/1.1\r\n")
			if slow {
				r = iotest.OneByteReader(r)
			}
			h, _, err := read(r)
			require.NoError(t, err, "%q", text)
			require.Equal(t, &want, h, "%q", text)
			rest, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, "GET / HTTP/1.1\r\n", string(rest), "%q", text)
		}
	}
}

// TestReadMalformed: nothing is guessed at.
func TestReadMalformed(t *testing.T) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\n", "\r\nGET / HTTP/1.1\r\n", "PROXY\r\n", "\x16\x03\x01",
		"PROXY TCP4 192.0.2.1 198.51.100.2 4321 443\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 4321\r443\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 4321 443 \r\n",
		"PROXY TCP4  192.0.2.1 198.51.100.2 4321 443\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 4321 65536\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 04321 443\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 +4321 443\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n",
		"PROXY TCP4 192.0.2.01 198.51.100.2 4321 443\r\n",
		"PROXY TCP4 2001:db8::1 198.51.100.2 4321 443\r\n",
		"PROXY TCP6 192.0.2.1 198.51.100.2 4321 443\r\n",
		"PROXY TCP6 fe80::1%eth0 fe80::2 4321 443\r\n",
		"PROXY TCP5 192.0.2.1 198.51.100.2 4321 443\r\n",
		"PROXY UDP4 192.0.2.1 198.51.100.2 4321 443\r\n",
		"PROXY TCP4 192.0.2.1 198.51.100.2 4321 443" + strings.Repeat(" ", 100),
		"PROXY UNKNOWN " + strings.Repeat("f", 200) + "\r\n",
		sig + "\x31\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\xe1\x01\xbb",
		sig + "\x22\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\xe1\x01\xbb",
		sig + "\x21\x41\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\xe1\x01\xbb",
		sig + "\x21\x13\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\xe1\x01\xbb",
		sig + "\x21\x11\x00\x0b\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\xe1\x01",
		sig + "\x21\x21\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\xe1\x01\xbb",
		sig + "\x21\x31\x00\x00",
		sig + "\x21\x00\x00\x02\x01\x00",
		sig + "\x21\x00\x00\x04\x01\x00\x02h",
		sig + "\x21\x00\x00\x05\x03\x00\x02ab",
		withSum(1),
	} {
		for _, slow := range []bool{false, true} {
			var r io.Reader = strings.NewReader(text)
			if slow {
				r = iotest.OneByteReader(r)
			}
			_, _, err := read(r)
			require.ErrorIs(t, err, ErrMalformed, "%q", text)
		}
	}
	for _, text := range []string{"PROXY TCP4 192.0.2.1", sig, sig + "\x21\x11\xff\xffab", "P"} {
		_, _, err := read(strings.NewReader(text))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%q", text)
	}
	_, _, err := read(strings.NewReader(""))
	require.Equal(t, io.EOF, err)
}

// TestMemory: what a header announces is not taken before it comes.
func TestMemory(t *testing.T) {
	_, got, err := read(strings.NewReader(sig + "\x21\x00\xff\xff"))
	require.Error(t, err)
	require.Less(t, cap(got), 2*chunk)
}

// TestSSL: what is told of the client's TLS is read as it was written.
func TestSSL(t *testing.T) {
	for _, s := range []SSL{
		{},
		{TLS: true, Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256"},
		{TLS: true, Certificate: true, Version: "TLSv1.2", Cipher: "c"},
		{TLS: true, Certificate: true, Verified: true, Version: "TLSv1.2", Cipher: "c", CommonName: "client"},
	} {
		got, err := ParseSSL(s.Append(nil))
		require.NoError(t, err)
		require.Equal(t, s, got)
	}
	for _, bad := range []string{"", "\x01\x00\x00\x00", "\x01\x00\x00\x00\x00\x21", "\x01\x00\x00\x00\x00\x21\x00\x09T"} {
		_, err := ParseSSL([]byte(bad))
		require.ErrorIs(t, err, ErrMalformed, "%q", bad)
	}
}

// FuzzRead: whatever comes, no more is read than the header, and what was read is
// written again as it means.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		"PROXY TCP4 192.0.2.1 198.51.100.2 4321 443\r\n", "PROXY UNKNOWN\r\n", "PROXY TCP6 ::1 ::2 1 2\r\nGET", withSum(0),
		sig + "\x21\x21\x00\x24" + strings.Repeat("\x20", 36), sig + "\x20\x00\x00\x00", "GET / HTTP/1.1\r\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		h, got, err := read(iotest.OneByteReader(r))
		require.Equal(t, b[:len(got)], got)
		require.Equal(t, len(b)-len(got), r.Len())
		whole, same, err2 := read(bytes.NewReader(b))
		require.Equal(t, err == nil, err2 == nil)
		if err != nil {
			require.True(t, errors.Is(err, ErrMalformed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), "%v", err)
			return
		}
		require.Equal(t, got, same)
		require.Equal(t, h, whole)
		if v, ok := h.Value(TypeSSL); ok {
			_, _ = ParseSSL(v)
		}
		out, err := h.Append(nil)
		require.NoError(t, err)
		again, _, err := read(bytes.NewReader(out))
		require.NoError(t, err)
		require.Equal(t, h.Source, again.Source)
		require.Equal(t, h.Destination, again.Destination)
		if h.Source.IsValid() {
			require.Equal(t, h.TLVs, again.TLVs)
		}
	})
}

// TestCost: no header costs more than its length.
func TestCost(t *testing.T) {
	v2 := func(body func(n int) string) parsertest.Input {
		return func(n int) func() {
			rest := body(n)
			b := []byte(sig + "\x21\x00" + string([]byte{byte(len(rest) >> 8), byte(len(rest))}) + rest)
			return func() { _, _, _ = read(bytes.NewReader(b)) }
		}
	}
	parsertest.Linear(t, map[string]parsertest.Input{
		"empty TLVs":    v2(func(n int) string { return strings.Repeat("\x01\x00\x00", n/3) }),
		"no operations": v2(func(n int) string { return strings.Repeat("\x04\x00\x00", n/3) }),
		"checksums":     v2(func(n int) string { return strings.Repeat("\x03\x00\x00", n/3) }),
		"one TLV": v2(func(n int) string {
			return "\x01" + string([]byte{byte((n - 3) >> 8), byte(n - 3)}) + strings.Repeat("x", n-3)
		}),
		"a line": func(n int) func() {
			text := "PROXY UNKNOWN " + strings.Repeat(" ", n)
			return func() { _, _, _ = read(strings.NewReader(text)) }
		},
		"byte by byte": func(n int) func() {
			text := sig + "\x21\x00" + string([]byte{byte(n >> 8), byte(n)}) + strings.Repeat("\x04\x00\x00", n/3)
			return func() { _, _, _ = read(iotest.OneByteReader(strings.NewReader(text))) }
		},
	})
}
