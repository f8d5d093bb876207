// Command mirror tries a new version of a backend beside the old one: a share of
// the requests is sent to both, and only the old one answers. A breaker leaves the
// old one alone while it fails.
//
//	go run ./examples/mirror -to http://127.0.0.1:9001/ -new http://127.0.0.1:9002 -share 0.1
//	curl http://127.0.0.1:8080/
//	curl http://127.0.0.1:8081/
//
// The second address tells how both fare.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/breaker"
	"github.com/modproxy/modproxy/proxy/graceful"
	"github.com/modproxy/modproxy/proxy/mirror"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	admin := flag.String("admin", "127.0.0.1:8081", "address for figures; keep it private")
	to := flag.String("to", "http://127.0.0.1:9001/", "backend that answers")
	next := flag.String("new", "http://127.0.0.1:9002", "backend that gets copies")
	share := flag.Float64("share", 0.1, "of the requests that are copied; negative for none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *listen, *admin, *to, *next, *share); err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, listen, admin, to, next string, share float64) error {
	app, err := proxy.NewHandler("/", to)
	if err != nil {
		return err
	}
	shadow, err := backend.Parse(next)
	if err != nil {
		return err
	}
	old := &breaker.Transport{
		FailOn: func(resp *http.Response) bool { return resp.StatusCode >= 500 },
		Slow:   5 * time.Second, Logger: slog.Default(),
	}
	copies := &mirror.Transport{
		Next: old, To: &proxy.Transport{Backend: shadow}, Share: share, Logger: slog.Default(),
		Choose:  func(r *http.Request) bool { return r.Method == "GET" }, // or what is ordered once is delivered twice
		Rewrite: func(copy *http.Request) { copy.Header.Del("Authorization"); copy.Header.Del("Cookie") },
	}
	app.Transport, app.Logger = copies, slog.Default()
	figures := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"old": old.Stats(), "new": copies.Stats()})
	})
	site, private := newServer(listen, app), newServer(admin, figures)
	slog.Info("listening", "url", "http://"+listen+"/", "admin", "http://"+admin+"/")
	service := &graceful.Service{Parts: []any{site, private, app, copies, shadow}}
	return service.Run(ctx, site.ListenAndServe, private.ListenAndServe)
}

func newServer(addr string, h http.Handler) *http.Server {
	// A client that never finishes its request must not hold a connection.
	return &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
}
