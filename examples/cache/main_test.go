package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

func TestServe(t *testing.T) {
	asked := 0
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Cache-Control", "max-age=600")
		fmt.Fprint(w, "answer ", asked)
	}))
	defer back.Close()
	defer http.DefaultClient.CloseIdleConnections()
	dir := t.TempDir()
	run := func(f func(front, admin string)) {
		front, admin := programs.FreeAddr(t), programs.FreeAddr(t)
		stop := programs.Run(t, func(ctx context.Context) error { return serve(ctx, front, admin, back.URL+"/", dir) }, front, admin)
		f("http://"+front, "http://"+admin)
		http.DefaultClient.CloseIdleConnections()
		stop()
	}
	ask := func(method, url string) (*http.Response, string) {
		r, err := http.NewRequest(method, url, nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp, string(b)
	}
	run(func(front, admin string) {
		resp, body := ask("GET", front+"/a")
		require.Equal(t, "answer 1", body)
		require.Equal(t, "MISS from 127.0.0.1", resp.Header.Get("X-Cache"))
		resp, body = ask("GET", front+"/a")
		require.Equal(t, "answer 1", body)
		require.Equal(t, "HIT from 127.0.0.1", resp.Header.Get("X-Cache"))
	})
	run(func(front, admin string) { // what was stored is still there
		_, body := ask("GET", front+"/a")
		require.Equal(t, "answer 1", body)
		_, body = ask("PURGE", admin+"/a")
		require.Equal(t, "{\"purged\":1}\n", body)
		_, body = ask("GET", front+"/a")
		require.Equal(t, "answer 2", body)
	})
}
