package cache

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSurrogateKeys(t *testing.T) {
	require.Equal(t, []string{"a", "b", "c", "d e", "f"}, surrogateKeys(fields(
		"Surrogate-Key: b a", "Surrogate-Key:  \tc  a ", "Cache-Tag: d e,a,, f", "Cache-Tag: a")))
	require.Empty(t, surrogateKeys(fields("Surrogate-Key: ", "Cache-Tag: ,")))
	var many []string
	for i := range maxTags + 10 {
		many = append(many, fmt.Sprint("k", i))
	}
	require.Len(t, surrogateKeys(fields("Surrogate-Key: "+strings.Join(many, " "))), maxTags)
}

// A 304 tells new surrogate keys, too.
func TestSurrogateKeysAfterValidation(t *testing.T) {
	clocked(t, func(t *testing.T) {
		c := &Cache{}
		h := c.Wrap(newOrigin(t,
			*ok("x", "Cache-Control: max-age=1", `ETag: "x"`, "Surrogate-Key: old", "Cache-Tag: stays"),
			step{status: http.StatusNotModified, header: fields("Cache-Control: max-age=60", `ETag: "x"`, "Surrogate-Key: new")}))
		get(h, page)
		time.Sleep(2 * time.Second)
		require.Equal(t, "x", bodyOf(t, get(h, page)))
		for tag, want := range map[string]int{"old": 0, "stays": 1, "new": 1} {
			n, err := c.PurgeTags(t.Context(), PurgeSoft, tag)
			require.NoError(t, err)
			if want == 1 && n == 0 { // softened before
				entries, _ := c.store.(Tagged).Tagged(t.Context(), tag)
				n = len(entries)
			}
			require.Equal(t, want, n, tag)
		}
	})
}
