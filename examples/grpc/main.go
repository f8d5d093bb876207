// Command grpc is a reverse proxy for gRPC: it takes HTTP/2 in clear text, or
// over TLS when given a certificate, and speaks HTTP/2 to the backend.
//
//	go run . -listen 127.0.0.1:8080 -to h2c://127.0.0.1:50051
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	to := flag.String("to", "h2c://127.0.0.1:50051", "backend; h2 as the scheme speaks TLS to it")
	cert := flag.String("cert", "", "file of the certificate chain; empty means no TLS")
	key := flag.String("key", "", "file of the certificate's private key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *to, *cert, *key); err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, listen, to, cert, key string) error {
	b, err := backend.Parse(to)
	if err != nil {
		return err
	}
	defer b.Close()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	var t *tls.Config
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		t = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	slog.Info("listening", "address", l.Addr(), "tls", t != nil, "backend", b)
	return serve(ctx, l, newHandler(b), t)
}

// newHandler returns the proxy in front of b.
func newHandler(b *backend.Backend) *proxy.Handler {
	// Between two messages of a stream any time may pass. How long a call may
	// take is the client's business: its deadline travels with the call, and
	// the end of its stream ends the one to the backend.
	b.Timeout = -1
	b.ConnectTimeout = 5 * time.Second
	return &proxy.Handler{
		Target:    b.URL,
		Transport: &proxy.Transport{Backend: b},
		Logger:    slog.Default(),
	}
}

// serve serves h on l, over TLS if t is not nil, until ctx ends.
func serve(ctx context.Context, l net.Listener, h *proxy.Handler, t *tls.Config) error {
	defer h.Transport.(*proxy.Transport).CloseIdleConnections()
	server := &http.Server{
		Handler: h, TLSConfig: t, Protocols: new(http.Protocols),
		ReadHeaderTimeout: 10 * time.Second,
	}
	server.Protocols.SetHTTP1(true) // for those who look at it with curl
	server.Protocols.SetHTTP2(t != nil)
	server.Protocols.SetUnencryptedHTTP2(t == nil)
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err := server.Shutdown(grace)
		if err != nil { // streams that did not end
			err = errors.Join(err, server.Close())
		}
		stopped <- err
	}()
	serve := server.Serve
	if t != nil {
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
