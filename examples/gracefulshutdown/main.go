// Command gracefulshutdown stops without losing a request: http.Server.Shutdown
// waits for requests, and a tunnel.Registry for WebSockets.
//
//	go run ./examples/gracefulshutdown -to http://127.0.0.1:9001/
//
// On SIGTERM: /ready says no, for as long as load balancers in front need to
// see it; then nobody new is accepted; what is running may finish, requests and
// tunnels alike, within a time; and what is left then is cut.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	to := flag.String("to", "http://127.0.0.1:9001/", "where requests go")
	notice := flag.Duration("notice", 5*time.Second, "how long /ready says no before the listener is closed")
	grace := flag.Duration("grace", 30*time.Second, "how long requests and tunnels may go on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", *listen)
	if err == nil {
		slog.Info("listening", "address", l.Addr())
		err = serve(ctx, l, *to, *notice, *grace)
	}
	if err != nil {
		slog.Error("not all went well", "error", err)
		os.Exit(1)
	}
}

// serve serves until ctx ends and all is finished; an error says what was cut.
func serve(ctx context.Context, l net.Listener, to string, notice, grace time.Duration) error {
	app, err := proxy.NewHandler("/", to)
	if err != nil {
		return err
	}
	defer app.CloseIdleConnections()
	app.Tunnels = &tunnel.Registry{}
	var leaving atomic.Bool
	mux := http.NewServeMux()
	mux.Handle("/", app)
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if leaving.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		leaving.Store(true)
		time.Sleep(notice)
		limit, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		tunnels := make(chan error, 1)
		go func() { tunnels <- app.Tunnels.Shutdown(limit) }() // beside the requests, not behind them
		err := server.Shutdown(limit)
		stopped <- errors.Join(err, <-tunnels, server.Close())
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
