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
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host, r.URL.Path) }))
	defer back.Close()
	addr := programs.FreeAddr(t)
	programs.Run(t, func(ctx context.Context) error { return serve(ctx, addr, back.URL+"/app/") }, addr)
	resp, err := http.Get("http://" + addr + "/app/x")
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	require.NoError(t, err)
	require.Equal(t, addr+"/app/x", string(b))
	http.DefaultClient.CloseIdleConnections()
	require.Error(t, serve(t.Context(), addr, "http://b/uneven"))
}
