package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStepsAreAlike: backend and client see the same at each step.
func TestStepsAreAlike(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Server", "secret/1.0")
		w.Header().Set("X-Seen", fmt.Sprint(r.Method, " ", r.Host, " ", r.RequestURI, " ", string(body)))
		fields := make([]string, 0, len(r.Header))
		r.Header.Del("Connection") // which is between the two
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			fields = append(fields, name+"="+strings.Join(r.Header[name], ","))
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, strings.Join(fields, "\n"))
	}))
	defer back.Close()
	target, err := url.Parse(back.URL + "/app/")
	require.NoError(t, err)
	answer := func(step int) (string, http.Header) {
		front := httptest.NewServer(site(step, target))
		defer front.Close()
		r, err := http.NewRequest("POST", front.URL+"/a%20b/c?x=1&y", strings.NewReader("body"))
		require.NoError(t, err)
		r.Host = "site.test"
		r.Header.Set("X-Forwarded-For", "192.0.2.9") // not to be believed
		r.Header.Set("Connection", "X-Hop")
		r.Header.Set("X-Hop", "1")
		r.Header.Set("Cookie", "a=b")
		resp, err := front.Client().Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusTeapot, resp.StatusCode)
		resp.Header.Del("Date")
		return string(body), resp.Header
	}
	wantBody, wantHeader := answer(0)
	require.Contains(t, wantBody, "X-Forwarded-For=127.0.0.1\n")
	require.NotContains(t, wantHeader, "Server")
	require.Equal(t, "POST "+target.Host+" /app/a%20b/c?x=1&y body", wantHeader.Get("X-Seen"))
	for step := 1; step <= 3; step++ {
		body, header := answer(step)
		require.Equal(t, wantBody, body, step)
		require.Equal(t, wantHeader, header, step)
	}
}

// TestQueries: httputil.ReverseProxy drops what not all parsers read alike, our
// Handler passes on what was sent (or refuses it, with StrictQuery).
func TestQueries(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.RawQuery) }))
	defer back.Close()
	target, err := url.Parse(back.URL)
	require.NoError(t, err)
	for step, want := range []string{"x=1", "x=1", "x=1&a;b", "x=1&a;b"} {
		w := httptest.NewRecorder()
		site(step, target).ServeHTTP(w, httptest.NewRequest("GET", "http://site.test/?x=1&a;b", nil))
		require.Equal(t, want, w.Body.String(), step)
	}
}

// TestFailures: from the first step on, the status says what has failed.
func TestFailures(t *testing.T) {
	target, err := url.Parse("http://127.0.0.1:1/")
	require.NoError(t, err)
	for step, want := range []int{502, 503, 503, 503, 501} {
		w := httptest.NewRecorder()
		site(step, target).ServeHTTP(w, httptest.NewRequest("GET", "http://site.test/", nil))
		require.Equal(t, want, w.Code, step)
	}
}
