// Command cache is a caching reverse proxy: what a backend lets be stored is
// kept in memory, and on a disk behind that. X-Cache tells what was done.
//
//	go run ./examples/cache -to http://127.0.0.1:9001/ -dir /tmp/cache
//	curl -i http://127.0.0.1:8080/
//	curl -X PURGE http://127.0.0.1:8081/path   what is stored for it
//	curl http://127.0.0.1:8081/                the figures
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

	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/cache/disk"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/tiered"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/graceful"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	admin := flag.String("admin", "127.0.0.1:8081", "address for figures and purging; keep it private")
	to := flag.String("to", "http://127.0.0.1:9001/", "backend")
	dir := flag.String("dir", "", "directory of the disk store; memory alone if empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *listen, *admin, *to, *dir); err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, listen, admin, to, dir string) error {
	app, err := proxy.NewHandler("/", to)
	if err != nil {
		return err
	}
	app.PreserveHost, app.Logger = true, slog.Default()
	c := &cache.Cache{Header: true, CacheStatus: "modproxy", Logger: slog.Default()}
	if dir != "" { // CacheEnable disk, CacheRoot
		c.Store = &tiered.Store{Front: &memory.Store{}, Back: &disk.Store{Root: dir, Logger: slog.Default()}}
	}
	// /path there is what /path is here, though the address differs.
	c.Key = func(r *http.Request) string { return r.URL.EscapedPath() + "?" + r.URL.RawQuery }
	site, purging := newServer(listen, c.Wrap(app)), newServer(admin, c.PurgeHandler())
	slog.Info("listening", "url", "http://"+listen+"/", "admin", "http://"+admin+"/")
	service := &graceful.Service{Parts: []any{site, purging, c, app, c.Store}} // in the order in which they are to stop
	return service.Run(ctx, site.ListenAndServe, purging.ListenAndServe)
}

func newServer(addr string, h http.Handler) *http.Server {
	// A client that never finishes its request must not hold a connection.
	return &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
}
