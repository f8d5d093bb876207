package proxy

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// The bytes that may stand unescaped in a forwarded path: letters, digits,
// "/" and those that Apache's ap_proxy_canonenc lets stand. One bit for each
// byte, below and above 64.
const (
	standsLow = 1<<'!' | 1<<'$' | 1<<'&' | 1<<'\'' | 1<<'(' | 1<<')' | 1<<'*' | 1<<'+' |
		1<<',' | 1<<'-' | 1<<'.' | 1<<'/' | 1<<':' | 1<<';' | 1<<'=' | (1<<10-1)<<'0'
	standsHigh = 1<<('@'-64) | 1<<('_'-64) | 1<<('~'-64) |
		(1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64)

	// Those of them that net/url leaves alone in URL.Path when RawPath is empty.
	urlPlainLow  = standsLow &^ (1<<'!' | 1<<'\'' | 1<<'(' | 1<<')' | 1<<'*')
	urlPlainHigh = standsHigh
)

// stands reports whether c may stand unescaped in a forwarded path.
func stands(c byte) bool {
	return c < 64 && uint64(standsLow)>>c&1 != 0 ||
		c >= 64 && c < 128 && uint64(standsHigh)>>(c-64)&1 != 0
}

// isPlainURLPath reports whether a path is the same escaped and decoded, so
// that a url.URL needs no RawPath for it.
func isPlainURLPath(p string) bool {
	for i := 0; i < len(p); i++ {
		c := p[i]
		if !(c < 64 && uint64(urlPlainLow)>>c&1 != 0 ||
			c >= 64 && c < 128 && uint64(urlPlainHigh)>>(c-64)&1 != 0) {
			return false
		}
	}
	return true
}

// setPath gives an escaped path to a URL.
func setPath(u *url.URL, wire string) {
	u.Path, u.RawPath = decode(wire), ""
	if !isPlainURLPath(wire) {
		u.RawPath = wire
	}
}

// appendEscaped appends a path in which nothing stands raw that may not. Triples
// %XX are kept byte for byte and a lone "%" is escaped. With renew, as Apache
// does, triples of bytes that may stand are decoded, but for %2F, and the
// others are written in upper case.
func appendEscaped(b []byte, p string, renew bool) []byte {
	const upperHex = "0123456789ABCDEF"
	for i := 0; i < len(p); i++ {
		c := p[i]
		if d, ok := syntax.TripleAt(p, i); ok {
			if !renew {
				b = append(b, p[i:i+3]...)
				i += 2
				continue
			}
			c = d
			i += 2
			if c != '/' && stands(c) {
				b = append(b, c)
				continue
			}
		} else if stands(c) {
			b = append(b, c)
			continue
		}
		b = append(b, '%', upperHex[c>>4], upperHex[c&15])
	}
	return b
}

// decode decodes a path whose escapes are well formed.
func decode(p string) string {
	if strings.IndexByte(p, '%') < 0 {
		return p
	}
	b := make([]byte, 0, len(p))
	for i := 0; i < len(p); {
		d, n := decodeAt(p, i)
		b = append(b, d)
		i += n
	}
	return string(b)
}

// decodesTo reports whether raw is an escaped form of path.
func decodesTo(raw, path string) (bool, error) {
	j, same := 0, true
	for i := 0; i < len(raw); j++ {
		if _, ok := syntax.TripleAt(raw, i); raw[i] == '%' && !ok {
			return false, fmt.Errorf("malformed escape")
		}
		d, n := decodeAt(raw, i)
		same = same && j < len(path) && path[j] == d
		i += n
	}
	return same && j == len(path), nil
}

// decodeAt returns the byte that stands at i, escaped or not, and its length.
func decodeAt(p string, i int) (d byte, n int) {
	if d, ok := syntax.TripleAt(p, i); ok {
		return d, 3
	}
	return p[i], 1
}
