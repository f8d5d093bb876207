// Command gracefulshutdown stops without losing a request: a graceful.Service
// has the server wait for requests, and the handler for WebSockets.
//
//	go run ./examples/gracefulshutdown -to http://127.0.0.1:9001/
//
// On SIGTERM: /ready says no, for as long as load balancers in front need to
// see it; then nobody new is accepted; what is running may finish, requests and
// tunnels alike, within a time; and what is left then is cut.
package main

import (
	"context"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/graceful"
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
	mux := http.NewServeMux()
	mux.Handle("/", app)
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if ctx.Err() != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	noticed, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(notice, stop) }) // until then requests are taken, and /ready says no
	service := &graceful.Service{Parts: []any{server, app}, Grace: grace}
	return service.Run(noticed, func() error { return server.Serve(l) })
}
