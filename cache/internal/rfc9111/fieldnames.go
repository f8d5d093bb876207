package rfc9111

import (
	"maps"
	"net/http"
	"slices"
)

// CanonicalNames returns a header in which each field has the name that the rules
// know it by. It may have been written in another way, to be sent so.
func CanonicalNames(h http.Header) http.Header {
	if areCanonical(h) {
		return h
	}
	known := make(http.Header, len(h))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		n := http.CanonicalHeaderKey(name)
		known[n] = append(known[n], h[name]...)
	}
	return known
}

func areCanonical(h http.Header) bool {
	for name := range h {
		if http.CanonicalHeaderKey(name) != name {
			return false
		}
	}
	return true
}

// NamedCanonically returns a request whose fields have the names that the rules
// know, which is r itself if it is one. No rule is passed by with other letters.
func NamedCanonically(r *http.Request) *http.Request {
	if areCanonical(r.Header) {
		return r
	}
	r = r.WithContext(r.Context())
	r.Header = CanonicalNames(r.Header)
	return r
}
