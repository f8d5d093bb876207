package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// TestServe: both get what is asked for, and the new one no more than that; the
// old one is left alone when it fails.
func TestServe(t *testing.T) {
	var fails atomic.Bool
	var asked atomic.Int64
	before := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if fails.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, "old ", r.Method, r.Header.Get("Cookie"))
	}))
	defer before.Close()
	copied := make(chan string, 100)
	after := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		copied <- r.Method + r.URL.Path + r.Header.Get("Cookie")
		panic(http.ErrAbortHandler)
	}))
	defer after.Close()
	defer http.DefaultClient.CloseIdleConnections()
	front, admin := programs.FreeAddr(t), programs.FreeAddr(t)
	programs.Run(t, func(ctx context.Context) error { return serve(ctx, front, admin, before.URL+"/", after.URL, 1) }, front, admin)
	ask := func(method, url string) (int, string) {
		r, err := http.NewRequest(method, url, strings.NewReader(""))
		require.NoError(t, err)
		r.Header.Set("Cookie", "a=b")
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(b)
	}
	_, text := ask("POST", "http://"+front+"/order")
	require.Equal(t, "old POSTa=b", text)
	_, text = ask("GET", "http://"+front+"/page")
	require.Equal(t, "old GETa=b", text)
	require.Equal(t, "GET/page", <-copied)
	require.Empty(t, copied)

	fails.Store(true)
	for range 30 {
		_, _ = ask("POST", "http://"+front+"/")
	}
	require.Less(t, asked.Load(), int64(30))
	status, _ := ask("POST", "http://"+front+"/")
	require.Equal(t, http.StatusServiceUnavailable, status)
	_, text = ask("GET", "http://"+admin+"/")
	require.Contains(t, text, `"state":"open"`)
	require.Contains(t, text, `"chosen":1`)
	require.Error(t, serve(t.Context(), front, admin, "http://b/uneven?", after.URL, 1))
	require.Error(t, serve(t.Context(), front, admin, before.URL, "nonsense", 1))
}
