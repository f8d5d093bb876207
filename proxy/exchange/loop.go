package exchange

import (
	"net/http"
	"strings"
)

// Passed reports whether name is among those of the proxies that a request has
// passed, by its fields Via (RFC 9110 section 7.6.3) and CDN-Loop (RFC 8586): one
// that comes back runs in a circle ([ErrLoop]).
func Passed(h http.Header, name string) bool {
	for _, v := range h["Via"] {
		for element := range strings.SplitSeq(v, ",") {
			parts := strings.Fields(element)
			if len(parts) >= 2 && strings.EqualFold(parts[1], name) {
				return true
			}
		}
	}
	for _, v := range h["Cdn-Loop"] {
		for element := range strings.SplitSeq(v, ",") {
			id, _, _ := strings.Cut(element, ";")
			if strings.EqualFold(strings.Trim(id, " \t"), name) {
				return true
			}
		}
	}
	return false
}
