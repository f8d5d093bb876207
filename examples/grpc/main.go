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
	"github.com/modproxy/modproxy/proxy/graceful"
)

func main() {
	address := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	to := flag.String("to", "h2c://127.0.0.1:50051", "backend; h2 as the scheme speaks TLS to it")
	cert := flag.String("cert", "", "file of the certificate chain and its private key; empty means no TLS")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, badURL := backend.Parse(*to)
	l, err := newListener(*address, *cert)
	if err = errors.Join(badURL, err); err == nil {
		slog.Info("listening", "address", l.Addr(), "backend", b)
		err = serve(ctx, l, b, slog.Default())
	}
	if err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
}

func newListener(address, cert string) (net.Listener, error) {
	if cert == "" {
		return net.Listen("tcp", address)
	}
	pair, err := tls.LoadX509KeyPair(cert, cert)
	if err != nil {
		return nil, err
	}
	return tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}})
}

// serve is the proxy to b, until ctx ends.
func serve(ctx context.Context, l net.Listener, b *backend.Backend, log *slog.Logger) error {
	// Between two messages of a stream any time may pass. How long a call may
	// take is the client's business: its deadline travels with the call, and
	// the end of its stream ends the one to the backend.
	b.Timeout, b.ConnectTimeout = -1, 5*time.Second
	transport := &proxy.Transport{Backend: b}
	h := &proxy.Handler{Target: b.URL, Transport: transport, Logger: log}
	server := &http.Server{Handler: h, Protocols: new(http.Protocols), ReadHeaderTimeout: 10 * time.Second}
	server.Protocols.SetHTTP1(true) // for those who look at it with curl
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	service := &graceful.Service{Parts: []any{server, transport}} // streams that do not end are cut after Grace
	return service.Run(ctx, func() error { return server.Serve(l) })
}
