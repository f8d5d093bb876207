package cache

import (
	"strconv"
	"time"
)

// forwarded is why a request went on to the origin: RFC 9211 section 2.2.
type forwarded string

const (
	fwdBypass   forwarded = "bypass"
	fwdMethod   forwarded = "method"
	fwdURIMiss  forwarded = "uri-miss"
	fwdVaryMiss forwarded = "vary-miss"
	fwdMiss     forwarded = "miss"
	fwdRequest  forwarded = "request"
	fwdStale    forwarded = "stale"
	fwdPartial  forwarded = "partial"
)

// cacheStatus is one cache's member of the Cache-Status field: RFC 9211. The
// zero values of the optional parts are left out.
type cacheStatus struct {
	name      string // of this cache
	hit       bool
	fwd       forwarded
	fwdStatus int // status of the origin's answer
	ttl       time.Duration
	hasTTL    bool
	stored    bool
	collapsed bool
	key       string
	detail    string
}

// append adds the member to b.
func (s *cacheStatus) append(b []byte) []byte {
	b = appendName(b, s.name)
	if s.hit {
		b = append(b, "; hit"...)
	} else if s.fwd != "" {
		b = append(append(b, "; fwd="...), s.fwd...)
		if s.fwdStatus > 0 {
			b = strconv.AppendInt(append(b, "; fwd-status="...), int64(s.fwdStatus), 10)
		}
	}
	if s.hasTTL {
		b = strconv.AppendInt(append(b, "; ttl="...), wholeSeconds(s.ttl), 10)
	}
	if s.stored && !s.hit {
		b = append(b, "; stored"...)
	}
	if s.collapsed && !s.hit {
		b = append(b, "; collapsed"...)
	}
	if s.key != "" {
		b = appendString(append(b, "; key="...), s.key)
	}
	if s.detail != "" {
		b = appendName(append(b, "; detail="...), s.detail)
	}
	return b
}

// wholeSeconds rounds down, also below zero, within what a structured field's
// integer holds.
func wholeSeconds(d time.Duration) int64 {
	n := int64(d / time.Second)
	if d < 0 && d%time.Second != 0 {
		n--
	}
	return n
}

// appendName writes a token if it can be one, else a string. RFC 9651 section
// 4.1.
func appendName(b []byte, s string) []byte {
	if s == "" || !(isAlpha(s[0]) || s[0] == '*') {
		return appendString(b, s)
	}
	for i := 1; i < len(s); i++ {
		if s[i] != ':' && s[i] != '/' && tokenLength(s[i:i+1]) == 0 {
			return appendString(b, s)
		}
	}
	return append(b, s...)
}

// appendString writes a quoted string. What is not ASCII, or is control, which
// a string cannot hold, is written as %XX.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c > '~':
			b = append(b, '%', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
