// Command websocket is a reverse proxy of WebSockets that looks at each
// message: it refuses long ones, drops those that a hook does not like, and
// tells its clients to go away (code 1001) before it stops.
//
//	go run ./examples/websocket -to ws://127.0.0.1:9001/chat
package main

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/proxy/graceful"
	"github.com/modproxy/modproxy/wstunnel"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	to := flag.String("to", "ws://127.0.0.1:9001/chat", "backend that gets /chat")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *listen, *to); err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, listen, to string) error {
	chat, err := wstunnel.NewHandler("/chat", to) // ProxyPass /chat ws://…
	if err != nil {
		return err
	}
	chat.Origins = []string{"self"} // pages of other sites may not speak for their visitors
	chat.IdleTimeout = 5 * time.Minute
	chat.CloseDelay = 3 * time.Second
	chat.Messages = &wstunnel.Messages{MaxSize: 64 << 10, OnMessage: moderate, PingInterval: time.Minute, CompressClient: true}

	server := &http.Server{Addr: listen, Handler: chat, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	service := &graceful.Service{Parts: []any{server, chat}} // tunnels are not the server's
	slog.Info("listening", "url", "ws://"+listen+"/chat", "backend", to)
	return service.Run(ctx, server.ListenAndServe)
}

// moderate looks at what clients say.
func moderate(m *wstunnel.Message) error {
	switch {
	case m.FromBackend:
		return nil
	case !m.Text:
		return &wstunnel.CloseError{Code: 1003, Reason: "text only"}
	case bytes.HasPrefix(m.Data, []byte("/secret")):
		return wstunnel.ErrDrop
	}
	m.Data = bytes.ReplaceAll(m.Data, []byte("darn"), []byte("****"))
	return nil
}
