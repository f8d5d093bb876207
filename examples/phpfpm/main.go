// Command phpfpm serves a PHP site by php-fpm: scripts, files beside them, and
// a front controller.
//
//	go run ./examples/phpfpm -root /var/www/html
//	go run ./examples/phpfpm -fpm 'unix:/run/php/php-fpm.sock|fcgi://localhost' -root /srv/site -front /index.php
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

	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy/graceful"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	fpm := flag.String("fpm", "fcgi://127.0.0.1:9000", "where php-fpm listens")
	root := flag.String("root", ".", "directory of the site")
	front := flag.String("front", "", "script for what does not exist, such as /index.php")
	children := flag.Int("children", 5, "php-fpm's pm.max_children: connections beyond it wait")
	flag.Parse()
	h, err := handler(*fpm, *root, *front, *children)
	if err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: *listen, Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	service := &graceful.Service{Parts: []any{server, h}}
	slog.Info("listening", "site", "http://"+*listen+"/")
	if err := service.Run(ctx, server.ListenAndServe); err != nil {
		slog.Error("cannot serve", "error", err)
	}
}

// handler is the site. What scripts write to their error output is logged.
func handler(fpm, root, front string, children int) (*fcgi.Handler, error) {
	h, err := fcgi.NewHandler(root, fpm)
	if err != nil {
		return nil, err
	}
	h.FrontController = front
	h.Proxy.Logger = slog.Default()
	t := h.Proxy.Transport.(*fcgi.Transport)
	t.Logger = slog.Default()
	t.Backend.MaxConns = children
	t.Backend.AcquireTimeout = 30 * time.Second
	return h, nil
}
