package cache

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
)

// A 304 tells new surrogate keys, too.
func TestSurrogateKeysAfterValidation(t *testing.T) {
	clocked(t, func(t *testing.T) {
		c := &Cache{}
		h := c.Wrap(newOrigin(t,
			*ok("x", "Cache-Control: max-age=1", `ETag: "x"`, "Surrogate-Key: old", "Cache-Tag: stays"),
			step{status: http.StatusNotModified, header: headerOf("Cache-Control: max-age=60", `ETag: "x"`, "Surrogate-Key: new")}))
		get(h, page)
		time.Sleep(2 * time.Second)
		require.Equal(t, "x", bodyOf(t, get(h, page)))
		for tag, want := range map[string]int{"old": 0, "stays": 1, "new": 1} {
			n, err := c.PurgeTags(t.Context(), PurgeSoft, tag)
			require.NoError(t, err)
			if want == 1 && n == 0 { // softened before
				entries, _ := c.store.(store.Tagged).Tagged(t.Context(), tag)
				n = len(entries)
			}
			require.Equal(t, want, n, tag)
		}
	})
}
