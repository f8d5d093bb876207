package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

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
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- serve(ctx, front, admin, back.URL+"/", dir) }()
		for _, addr := range []string{front, admin} {
			require.Eventually(t, func() bool {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					return false
				}
				return c.Close() == nil
			}, 10*time.Second, 5*time.Millisecond)
		}
		f("http://"+front, "http://"+admin)
		http.DefaultClient.CloseIdleConnections()
		stop()
		require.NoError(t, <-done)
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
