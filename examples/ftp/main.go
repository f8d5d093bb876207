// Command ftp makes an FTP server available by HTTP: files with ranges, and
// directories as pages, or as JSON for who asks for it.
//
//	go run ./examples/ftp -ftp ftp://localhost/pub/
//	go run ./examples/ftp -ftp ftpes://ann:secret@files.example.com/ -write
//	curl http://127.0.0.1:8080/
//	curl -H 'Accept: application/json' http://127.0.0.1:8080/
//	curl -r 0-99 http://127.0.0.1:8080/file
//	curl -T file http://127.0.0.1:8080/upload/file
package main

import (
	"context"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/ftpproxy"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/graceful"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	target := flag.String("ftp", "ftp://127.0.0.1/", "`URL` of the server: ftp, ftps or ftpes; a user in it logs in for all")
	write := flag.Bool("write", false, "let clients store and remove files by PUT and DELETE")
	flag.Parse()
	h, err := handler(*target, *write)
	if err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: *listen, Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	service := &graceful.Service{Parts: []any{server, h}}
	slog.Info("listening", "open", "http://"+*listen+"/")
	if err := service.Run(ctx, server.ListenAndServe); err != nil {
		slog.Error("cannot serve", "error", err)
	}
}

// handler maps all paths to the server.
func handler(target string, write bool) (*proxy.Handler, error) {
	if !strings.HasSuffix(target, "/") {
		target += "/"
	}
	h, err := ftpproxy.NewHandler("/", target)
	if err != nil {
		return nil, err
	}
	h.Logger = slog.Default()
	t := h.Transport.(*ftpproxy.Transport)
	t.AllowPut, t.AllowDelete = write, write
	t.Backend.MaxConns = 16 // servers limit how many come from one address
	t.Backend.AcquireTimeout = 30 * time.Second
	return h, nil
}
