package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSite: each part of the chain does its work, nobody gets what is another
// user's, and the log knows of all.
func TestSite(t *testing.T) {
	var members []string
	var asked atomic.Int64
	for range 2 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=600")
			fmt.Fprint(w, asked.Add(1), " ", r.URL.Path, " ", r.Header.Get("X-User"), r.Header.Get("Authorization"))
		}))
		defer s.Close()
		members = append(members, s.URL)
	}
	var log bytes.Buffer
	h, err := site(&log, members)
	require.NoError(t, err)
	ask := func(user, password string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/x", nil)
		r.Header.Set("X-User", "you")
		r.Header.Set("Connection", "X-User") // drops it on the way
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	refused := func() {
		for _, wrong := range [][2]string{{"", ""}, {"me", "hidden"}, {"me:s", "ecret"}, {"them", ""}} {
			w := ask(wrong[0], wrong[1])
			require.Equal(t, 401, w.Code)
			require.NotEmpty(t, w.Header().Get("WWW-Authenticate"))
		}
	}
	refused()
	require.Zero(t, asked.Load())
	for _, tc := range []struct{ user, password, want string }{
		{"me", "secret", "1 /x me"},
		{"me", "secret", "1 /x me"}, // a hit
		{"you", "hidden", "2 /x you"},
		{"me", "secret", "1 /x me"},
		{"you", "hidden", "2 /x you"},
	} {
		w := ask(tc.user, tc.password)
		require.Equal(t, 200, w.Code)
		require.Equal(t, tc.want, w.Body.String())
	}
	refused() // whatever is stored
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 13)
	require.Regexp(t, `^192\.0\.2\.1 - "GET /x HTTP/1\.1" 401 \d+ - - 0$`, lines[0])
	require.Equal(t, `192.0.2.1 me "GET /x HTTP/1.1" 200 7 miss `+members[0]+` 1`, lines[4])
	require.Equal(t, `192.0.2.1 me "GET /x HTTP/1.1" 200 7 hit - 0`, lines[5])
	require.Equal(t, `192.0.2.1 you "GET /x HTTP/1.1" 200 8 miss `+members[1]+` 1`, lines[6])
	require.Equal(t, `192.0.2.1 me "GET /x HTTP/1.1" 200 7 hit - 0`, lines[7])
	require.Equal(t, `192.0.2.1 you "GET /x HTTP/1.1" 200 8 hit - 0`, lines[8])
	_, err = site(&log, []string{"nonsense"})
	require.Error(t, err)
}
