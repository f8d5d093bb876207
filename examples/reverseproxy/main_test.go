package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

func TestServe(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host, r.URL.Path) }))
	defer back.Close()
	addr := programs.FreeAddr(t)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, addr, back.URL+"/app/") }()
	var resp *http.Response
	var err error
	require.Eventually(t, func() bool {
		resp, err = http.Get("http://" + addr + "/app/x")
		return err == nil
	}, 5*time.Second, 5*time.Millisecond)
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	require.NoError(t, err)
	require.Equal(t, addr+"/app/x", string(b))
	http.DefaultClient.CloseIdleConnections()
	stop()
	require.NoError(t, <-done)
	require.Error(t, serve(ctx, addr, "http://b/uneven"))
}
