package main

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// TestServe has two Tomcats, of which the one with the session is killed.
func TestServe(t *testing.T) {
	const session = "/examples/servlets/servlet/SessionExample"
	nodes := map[string]*programs.Program{
		"node1": programs.Tomcat(t, programs.TomcatOptions{Route: "node1", Secret: "s3cret"}),
		"node2": programs.Tomcat(t, programs.TomcatOptions{Route: "node2", Secret: "s3cret"}),
	}
	addr := programs.FreeAddr(t)
	programs.Run(t, func(ctx context.Context) error {
		return serve(ctx, addr, "s3cret", []string{"node1=" + nodes["node1"].Addr, "node2=" + nodes["node2"].Addr})
	}, addr)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar, Transport: &http.Transport{}}
	get := func(query string) (string, error) {
		resp, err := client.Get("http://" + addr + session + query)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.Equal(t, http.StatusOK, resp.StatusCode, "%s", b)
		return string(b), err
	}
	_, err = get("?dataname=fruit&datavalue=kumquat")
	require.NoError(t, err)
	for range 4 {
		text, err := get("")
		require.NoError(t, err)
		require.Contains(t, text, "kumquat")
	}
	req, err := http.NewRequest("GET", "http://"+addr+session, nil)
	require.NoError(t, err)
	var node string
	for _, c := range jar.Cookies(req.URL) {
		_, node, _ = strings.Cut(c.Value, ".")
	}
	require.Contains(t, nodes, node)
	nodes[node].Kill()
	text, err := get("")
	require.NoError(t, err)
	require.NotContains(t, text, "kumquat", "the other Tomcat knows nothing of it")
	client.CloseIdleConnections()
}

func TestServeRefusesBadNodes(t *testing.T) {
	require.Error(t, serve(context.Background(), "127.0.0.1:0", "", []string{"127.0.0.1:8009"}))
}
