package graceful_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/graceful"
)

// A proxy that is stopped while a request is on its way.
func Example() {
	ctx, stop := context.WithCancel(context.Background()) // signal.NotifyContext in a program
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		stop()
		fmt.Fprint(w, "whole")
	}))
	app, err := proxy.NewHandler("/", origin.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{Handler: app}
	service := &graceful.Service{Parts: []any{server, app, origin}}
	ended := make(chan error)
	go func() { ended <- service.Run(ctx, func() error { return server.Serve(l) }) }()

	resp, err := http.Get("http://" + l.Addr().String() + "/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	fmt.Println(string(text), err, <-ended)
	http.DefaultClient.CloseIdleConnections()
	// Output: whole <nil> <nil>
}
