package apache

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// TestFloodOfGuesses is answered with 503 where it exceeds the line, while
// those go on who have logged in, below every section of the same users; and
// their passwords end with the file that had them.
func TestFloodOfGuesses(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	write := func(password string, cost int) {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(users, []byte("carl:"+string(hash)+"\n"), 0o600))
	}
	write("old", 10)
	auth := "AuthType Basic\nAuthUserFile " + users + "\nRequire valid-user\n"
	p := start(t, "ProxyPass / http://backend.test/\n<Location /a>\n"+auth+"</Location>\n<Location /b>\n"+auth+"</Location>\n", echo)
	ask := func(path, password string) int {
		resp, _ := p.get("80", "x.test"+path, withUser("Authorization", "carl", password))
		return resp.StatusCode
	}
	require.Equal(t, 200, ask("/a", "old"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	guesses := &http.Transport{DisableKeepAlives: true}
	var wg sync.WaitGroup
	var refused atomic.Int32
	for i := range 200 {
		wg.Go(func() {
			r, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("http://%s/%c", p.server.addresses()["80"], "ab"[i%2]), nil)
			if err != nil {
				t.Error(err)
				return
			}
			r.SetBasicAuth("carl", fmt.Sprint("guess", i))
			resp, err := guesses.RoundTrip(r)
			if err != nil {
				return // it left
			}
			_ = resp.Body.Close()
			if resp.StatusCode == 503 && resp.Header.Get("Retry-After") != "" {
				refused.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return refused.Load() > 0 }, 60*time.Second, time.Millisecond)
	require.Equal(t, 200, ask("/b", "old"), "one memory for all sections")
	cancel()
	wg.Wait()
	write("new", 4)
	require.Eventually(t, func() bool { return ask("/b", "old") == 401 }, 60*time.Second, 10*time.Millisecond)
	require.Equal(t, 200, ask("/a", "new"))
}
