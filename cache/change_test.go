package cache

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// As the HTTP client of Java does with its first request to a host.
func TestChangeThatOffersAnUpgrade(t *testing.T) {
	for name, front := range fronts {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, *ok("old", "Cache-Control: max-age=60"), *ok("posted"), *ok("new"))
			h := front(&Cache{}, o)
			get(h, page)
			ask(h, http.MethodPost, page, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
			require.Equal(t, "new", bodyOf(t, get(h, page)))
		})
	}
}
