package rfc9111

import (
	"net/http"
	"strings"
	"time"
)

// WantsOrigin reports whether a request has conditions that only the origin can
// judge: RFC 9111 section 4.3.2.
func WantsOrigin(h http.Header) bool {
	return len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0
}

// NotModified reports whether a stored response is answered with 304 to this
// request: RFC 9111 section 4.3.2, RFC 9110 section 13.2.2.
func (f *Facts) NotModified(h http.Header) bool {
	if f.status < 200 || f.status > 299 {
		return false
	}
	if lines, ok := h["If-None-Match"]; ok {
		return f.noneMatchFails(lines)
	}
	since, ok := oneDate(h["If-Modified-Since"], f.received)
	if !ok {
		return false
	}
	modified := f.lastModified
	if modified.IsZero() {
		modified = f.date
	}
	return !modified.Truncate(time.Second).After(since)
}

// noneMatchFails compares weakly: RFC 9110 section 13.1.2.
func (f *Facts) noneMatchFails(lines []string) bool {
	for _, line := range lines {
		if strings.Trim(line, " \t") == "*" {
			return true
		}
		for line != "" {
			var tag string
			if tag, line = nextETag(line); tag != "" && f.ETag != "" && weakEqual(tag, f.ETag) {
				return true
			}
		}
	}
	return false
}

// IfRange reports whether the condition of If-Range holds, so that ranges may be
// sent: RFC 9110 section 13.1.5. Without If-Range it holds.
func (f *Facts) IfRange(h http.Header) bool {
	lines, ok := h["If-Range"]
	if !ok {
		return true
	}
	if len(lines) != 1 {
		return false
	}
	v := strings.Trim(lines[0], " \t")
	if tag, rest := nextETag(v); tag != "" && rest == "" {
		return strongEqual(tag, f.ETag)
	}
	since, ok := parseDate(v, f.received)
	return ok && f.dateIsStrong() && since.Equal(f.lastModified)
}

// dateIsStrong reports whether Last-Modified can tell all changes apart: RFC
// 9110 section 8.8.2.2.
func (f *Facts) dateIsStrong() bool {
	return !f.lastModified.IsZero() && f.date.Sub(f.lastModified) >= time.Second
}

// SetValidation makes a request's conditions those that validate a stored
// response, in place of the client's: RFC 9111 section 4.3.1.
func SetValidation(h http.Header, f *Facts) {
	DropConditions(h)
	if f.ETag != "" {
		h["If-None-Match"] = []string{f.ETag}
	}
	if f.LastModifiedText != "" {
		h["If-Modified-Since"] = []string{f.LastModifiedText}
	}
}

// DropConditions takes the client's conditions out of a request.
func DropConditions(h http.Header) {
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range"} {
		delete(h, name)
	}
}

// oneETag is the entity tag of a response, or "" when there is not exactly one.
func oneETag(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	for _, other := range lines[1:] {
		if other != lines[0] {
			return ""
		}
	}
	v := strings.Trim(lines[0], " \t")
	if tag, rest := nextETag(v); rest == "" {
		return tag
	}
	return ""
}

// nextETag takes an entity tag off the front of a list: RFC 9110 section 8.8.3.
// What is none is passed over up to the next comma, with "" for the tag.
func nextETag(s string) (tag, rest string) {
	s = trimListStart(s)
	start := 0
	if strings.HasPrefix(s, "W/") {
		start = 2
	}
	if start < len(s) && s[start] == '"' {
		for i := start + 1; i < len(s); i++ {
			c := s[i]
			if c == '"' {
				after := strings.TrimLeft(s[i+1:], " \t")
				if after == "" || after[0] == ',' {
					return s[:i+1], trimListStart(after)
				}
				break
			}
			if c <= ' ' || c == 0x7f {
				break
			}
		}
	}
	_, rest, _ = strings.Cut(s, ",")
	return "", trimListStart(rest)
}

// weakEqual is the weak comparison of RFC 9110 section 8.8.3.2.
func weakEqual(a, b string) bool {
	return strings.TrimPrefix(a, "W/") == strings.TrimPrefix(b, "W/")
}

// strongEqual is the strong comparison.
func strongEqual(a, b string) bool { return a == b && strongETag(a) }

// strongETag reports whether there is a tag and it is not weak.
func strongETag(tag string) bool { return tag != "" && tag[0] == '"' }
