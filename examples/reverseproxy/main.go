// Command reverseproxy is a reverse proxy in a few lines: an access log around
// a handler that sends /app/ to a backend, and stops gracefully.
//
//	go run ./examples/reverseproxy -to http://127.0.0.1:9001/app/
package main

import (
	"context"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/accesslog"
	"github.com/modproxy/modproxy/proxy/graceful"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	to := flag.String("to", "http://127.0.0.1:9001/app/", "backend that gets /app/")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *listen, *to); err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, listen, to string) error {
	app, err := proxy.NewHandler("/app/", to) // ProxyPass /app/ …
	if err != nil {
		return err
	}
	app.PreserveHost = true                                     // ProxyPreserveHost On
	app.Reverse = []proxy.ReverseRule{{Path: "/app/", URL: to}} // ProxyPassReverse /app/ …
	app.Logger = slog.Default()

	log := &accesslog.Handler{Output: os.Stdout}
	server := &http.Server{
		Addr: listen, Handler: log.Wrap(app),
		// A client that never finishes its request must not hold a connection.
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	slog.Info("listening", "url", "http://"+listen+"/app/", "backend", to)
	service := &graceful.Service{Parts: []any{server, app}} // in the order in which they are to stop
	return service.Run(ctx, server.ListenAndServe)
}
