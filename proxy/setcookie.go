package proxy

import (
	"net/http"
	"strings"
)

// CookieRule maps the Domain or the Path attribute of cookies that the backend
// sets to what clients see. Apache: ProxyPassReverseCookieDomain and
// ProxyPassReverseCookiePath.
type CookieRule struct {
	// Internal is what the backend says. A domain is compared whole, without
	// regard to case or to a leading dot (Apache: a prefix is enough). A path
	// is compared by whole segments, with regard to case.
	Internal string

	// Public takes its place. What follows Internal in a path is kept (Apache:
	// dropped).
	Public string
}

// rewriteCookies maps the Domain and Path attributes of Set-Cookie. For each
// attribute the first rule that fits decides; a repeated attribute is mapped
// each time, and all other bytes stay. Value slices may be shared with others,
// so a changed one is replaced.
func rewriteCookies(h http.Header, domains, paths []CookieRule) {
	if len(domains) == 0 && len(paths) == 0 {
		return
	}
	replaceValues(h, "Set-Cookie", func(v string) (string, bool) { return mapCookie(v, domains, paths) })
}

// mapCookie maps one value of Set-Cookie (RFC 6265, section 4.1.1).
func mapCookie(v string, domains, paths []CookieRule) (string, bool) {
	// What stands before the first semicolon is name and value of the cookie.
	at := strings.IndexByte(v, ';')
	if at < 0 {
		return "", false
	}
	var b strings.Builder
	copied := 0
	for at < len(v) {
		at++ // the semicolon
		end := at + strings.IndexByte(v[at:], ';')
		if end < at {
			end = len(v)
		}
		if name, value, ok := strings.Cut(v[at:end], "="); ok {
			value = strings.TrimLeft(value, " \t")
			from := end - len(value)
			value = strings.TrimRight(value, " \t")
			if n, ok := mapAttribute(strings.Trim(name, " \t"), value, domains, paths); ok {
				b.WriteString(v[copied:from])
				b.WriteString(n)
				copied = from + len(value)
			}
		}
		at = end
	}
	if copied == 0 {
		return "", false
	}
	b.WriteString(v[copied:])
	return b.String(), true
}

// mapAttribute returns the new value of an attribute.
func mapAttribute(name, value string, domains, paths []CookieRule) (string, bool) {
	switch {
	case strings.EqualFold(name, "domain"):
		for _, r := range domains {
			if strings.EqualFold(strings.TrimPrefix(value, "."), strings.TrimPrefix(r.Internal, ".")) {
				return r.Public, true
			}
		}
	case strings.EqualFold(name, "path"):
		for _, r := range paths {
			if r.Internal == "" {
				continue
			}
			if value == r.Internal {
				return r.Public, true
			}
			if n, ok := replacePathPrefix(value, r.Internal, r.Public); ok {
				return n, true
			}
		}
	}
	return "", false
}
