package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/proxy/access"
)

// TestServe asks as httpd does.
func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, "s3cret") }()
	tr := &ajp.Transport{Secret: "s3cret"}
	defer tr.CloseIdleConnections()
	ask := func(method, path, body string) string {
		r, err := http.NewRequest(method, "ajp://"+l.Addr().String()+path, strings.NewReader(body))
		require.NoError(t, err)
		r.Host, r.RemoteAddr = "www.example.com", "192.0.2.7:40000"
		resp, err := tr.RoundTrip(access.WithUser(r, "ann", "Basic"))
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode, "%s", b)
		return string(b)
	}
	require.Equal(t, "192.0.2.7:40000 asks www.example.com for /go/x?a=b\nhttpd says that this is ann (Basic)\n", ask("GET", "/go/x?a=b", ""))
	require.Equal(t, "100000 bytes\n", ask("POST", "/go/upload", strings.Repeat("x", 100000)))
	stop()
	require.NoError(t, <-done)
}
