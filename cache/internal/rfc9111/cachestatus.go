package rfc9111

import (
	"strconv"
	"time"
)

// Forwarded is why a request went on to the origin: RFC 9211 section 2.2.
type Forwarded string

const (
	FwdBypass   Forwarded = "bypass"
	FwdMethod   Forwarded = "method"
	FwdURIMiss  Forwarded = "uri-miss"
	FwdVaryMiss Forwarded = "vary-miss"
	FwdMiss     Forwarded = "miss"
	FwdRequest  Forwarded = "request"
	FwdStale    Forwarded = "stale"
	FwdPartial  Forwarded = "partial"
)

// CacheStatus is one cache's member of the Cache-Status field: RFC 9211. The
// zero values of the optional parts are left out.
type CacheStatus struct {
	Name      string // of this cache
	Hit       bool
	Fwd       Forwarded
	FwdStatus int // status of the origin's answer
	TTL       time.Duration
	HasTTL    bool
	Stored    bool
	Collapsed bool
	Key       string
	Detail    string
}

// Append adds the member to b.
func (s *CacheStatus) Append(b []byte) []byte {
	b = appendName(b, s.Name)
	if s.Hit {
		b = append(b, "; hit"...)
	} else if s.Fwd != "" {
		b = append(append(b, "; fwd="...), s.Fwd...)
		if s.FwdStatus > 0 {
			b = strconv.AppendInt(append(b, "; fwd-status="...), int64(s.FwdStatus), 10)
		}
	}
	if s.HasTTL {
		b = strconv.AppendInt(append(b, "; ttl="...), wholeSeconds(s.TTL), 10)
	}
	if s.Stored && !s.Hit {
		b = append(b, "; stored"...)
	}
	if s.Collapsed && !s.Hit {
		b = append(b, "; collapsed"...)
	}
	if s.Key != "" {
		b = appendString(append(b, "; key="...), s.Key)
	}
	if s.Detail != "" {
		b = appendName(append(b, "; detail="...), s.Detail)
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
