// Command ajpserver is a Go service behind httpd's mod_proxy_ajp. Have in
// httpd's configuration
//
//	ProxyPass "/go/" "ajp://127.0.0.1:8009/go/" secret=s3cret
//
// and run
//
//	go run ./examples/ajpserver -secret s3cret
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/graceful"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8009", "address to listen on")
	secret := flag.String("secret", "", "secret that requests must carry; may be empty on a loopback address alone")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", *listen)
	if err == nil {
		err = serve(ctx, l, *secret)
	}
	if err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
}

// newService is what the proxy's clients see.
func newService() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /go/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s asks %s for %s\n", r.RemoteAddr, r.Host, r.URL)
		if f := exchange.FactsOf(r, nil); f.User != "" {
			fmt.Fprintf(w, "httpd says that this is %s (%s)\n", f.User, f.AuthType)
		}
		if r.TLS != nil {
			fmt.Fprintln(w, "over TLS")
		}
	})
	mux.HandleFunc("POST /go/upload", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 64<<20))
		if err != nil {
			http.Error(w, "the upload is too large, or has ended early", http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%d bytes\n", n)
	})
	return mux
}

func serve(ctx context.Context, l net.Listener, secret string) error {
	server := &ajp.Server{Handler: newService(), Secret: secret, Logger: slog.Default()}
	slog.Info("listening", "url", "ajp://"+l.Addr().String()+"/go/")
	service := &graceful.Service{Parts: []any{server}}
	return service.Run(ctx, func() error { return server.Serve(l) })
}
