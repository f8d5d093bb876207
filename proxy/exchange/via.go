package exchange

import (
	"net/http"
	"strings"
)

// ViaNames reports whether name is among those of the proxies that a message
// has passed, by its Via field (RFC 9110 section 7.6.3): a request that comes back
// runs in a circle ([ErrLoop]).
func ViaNames(h http.Header, name string) bool {
	for _, v := range h["Via"] {
		for element := range strings.SplitSeq(v, ",") {
			parts := strings.Fields(element)
			if len(parts) >= 2 && strings.EqualFold(parts[1], name) {
				return true
			}
		}
	}
	return false
}
