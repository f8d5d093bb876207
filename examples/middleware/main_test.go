package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSite: each part of the chain does its work, and the log knows of all.
func TestSite(t *testing.T) {
	var members []string
	for range 2 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.URL.Path, " ", r.Header.Get("X-User"), r.Header.Get("Authorization"))
		}))
		defer s.Close()
		members = append(members, s.URL)
	}
	var log bytes.Buffer
	h, err := site(&log, "me", "secret", members)
	require.NoError(t, err)
	ask := func(user, password string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/x", nil)
		r.Header.Set("X-User", "root")
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, wrong := range [][2]string{{"", ""}, {"me", "wrong"}, {"me:s", "ecret"}} {
		w := ask(wrong[0], wrong[1])
		require.Equal(t, 401, w.Code)
		require.NotEmpty(t, w.Header().Get("WWW-Authenticate"))
	}
	for range 2 {
		w := ask("me", "secret")
		require.Equal(t, 200, w.Code)
		require.Equal(t, "/x me", w.Body.String())
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 5)
	require.Equal(t, `192.0.2.1 - "GET /x HTTP/1.1" 401 17 - 0 0`, lines[0])
	require.Regexp(t, regexp.MustCompile(`^192\.0\.2\.1 me "GET /x HTTP/1\.1" 200 5 `+members[0]+` 1 \d+$`), lines[3])
	require.Regexp(t, regexp.MustCompile(`^192\.0\.2\.1 me "GET /x HTTP/1\.1" 200 5 `+members[1]+` 1 \d+$`), lines[4])
	_, err = site(&log, "me", "secret", []string{"nonsense"})
	require.Error(t, err)
}
