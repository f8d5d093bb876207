// Command websocket is a reverse proxy for an application with WebSockets: only
// its own pages may open them, messages are limited in size, dead peers are
// found by Pings, and clients are told when the server goes down.
//
//	go run ./examples/websocket -to http://127.0.0.1:9001/
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/wstunnel"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	to := flag.String("to", "http://127.0.0.1:9001/", "application that gets all paths")
	messages := flag.Bool("messages", false, "look at messages, and not only pass on their bytes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *listen, *to, *messages); err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, listen, to string, messages bool) error {
	app, err := wstunnel.NewHandler("/", to) // ProxyPass / … upgrade=websocket
	if err != nil {
		return err
	}
	app.Origins = []string{"self"}
	app.IdleTimeout = time.Hour // ProxyWebsocketIdleTimeout
	app.CloseDelay = 5 * time.Second
	app.Proxy.PreserveHost = true // ProxyPreserveHost On
	app.Proxy.Logger = slog.Default()
	if messages {
		app.Messages = &wstunnel.Messages{
			MaxSize: 1 << 20, PingInterval: 30 * time.Second, CompressClient: true,
			OnMessage: func(m *wstunnel.Message) error {
				slog.Info("message", "path", m.Request.URL.Path, "back", m.FromBackend, "text", m.Text, "bytes", len(m.Data))
				return nil
			},
		}
	}
	server := &http.Server{
		Addr: listen, Handler: app,
		// A client that never finishes its request must not hold a connection.
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		stopped <- errors.Join(server.Shutdown(grace), app.Shutdown(grace)) // Close 1001
	}()
	slog.Info("listening", "url", "http://"+listen+"/", "application", to)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
