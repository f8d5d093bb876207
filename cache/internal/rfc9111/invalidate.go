package rfc9111

import (
	"net/http"
	"net/url"
	"strings"
)

// Safe reports whether a method is known to change nothing: RFC 9110 section
// 9.2.1, and those that the registry of methods calls Safe.
func Safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "PROPFIND", "QUERY", "REPORT", "SEARCH":
		return true
	}
	return false
}

// Invalidates reports whether an answer to a method makes what is stored for
// its URI unusable without validation: RFC 9111 section 4.4.
func Invalidates(method string, status int) bool {
	return !Safe(method) && status >= 200 && status < 400
}

// AlsoInvalidated returns the URIs that Location and Content-Location name, if
// they are of the same origin as target, which has scheme and host.
func AlsoInvalidated(target *url.URL, h http.Header) (uris []*url.URL) {
	for _, name := range []string{"Location", "Content-Location"} {
		for _, v := range h[name] {
			u, err := target.Parse(v)
			if err != nil || !sameOrigin(u, target) {
				continue
			}
			u.Fragment, u.RawFragment = "", ""
			uris = append(uris, u)
		}
	}
	return uris
}

// sameOrigin compares scheme, host and port: RFC 9110 section 4.3.1.
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && PortOf(a) == PortOf(b)
}

func PortOf(u *url.URL) string {
	switch port := u.Port(); {
	case port != "":
		return port
	case strings.EqualFold(u.Scheme, "https"):
		return "443"
	default:
		return "80"
	}
}
