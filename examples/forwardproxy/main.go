// Command forwardproxy lets clients of some networks, or with an account, out.
//
//	go run ./examples/forwardproxy -allow 127.0.0.0/8
//	curl -x http://127.0.0.1:3128 https://www.example.com/
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/accesslog"
	"github.com/modproxy/modproxy/proxy/graceful"
)

type options struct{ listen, allow, users, parent, ports, cert, inside string }

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:3128", "address to listen on")
	flag.StringVar(&o.allow, "allow", "", "networks of clients, as in 127.0.0.0/8 192.168.1")
	flag.StringVar(&o.users, "users", "", "file of htpasswd -B with those who may use it")
	flag.StringVar(&o.parent, "parent", "", "proxy that requests are sent on to, as in http://user:password@host:3128")
	flag.StringVar(&o.ports, "ports", "443 563", "ports for tunnels")
	flag.StringVar(&o.cert, "cert", "", "certificate and key, to speak TLS to clients")
	flag.StringVar(&o.inside, "inside", "", "private networks that may be reached")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, o); err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, o options) error {
	f := &proxy.Forward{Clients: &access.Clients{}, Logger: slog.Default()} // ProxyRequests On
	inside, err := access.ParsePrefixes(strings.Fields(o.inside)...)
	f.Destinations = &access.Destinations{AllowAddrs: inside}
	if o.allow != "" { // <Proxy *> Require ip …
		allow, aerr := access.ParsePrefixes(strings.Fields(o.allow)...)
		f.Clients.Access, err = &access.Access{Allow: allow}, errors.Join(err, aerr)
	}
	if o.users != "" { // AuthType Basic, AuthUserFile …, Require valid-user
		users, uerr := access.OpenHtpasswd(o.users)
		f.Clients.Auth, err = &access.BasicAuth{Realm: "forward proxy", Verify: users.Verify, Stamp: users.Stamp}, errors.Join(err, uerr)
	}
	if o.parent != "" { // ProxyRemote * …
		parent, perr := connect.NewRemote("*", o.parent)
		f.Remotes, err = []access.Remote{parent}, errors.Join(err, perr)
	}
	ports, perr := access.ParsePorts(strings.Fields(o.ports)...) // AllowCONNECT …
	tunnels := &connect.Handler{Ports: ports, DialContext: f.DialContext, Logger: slog.Default()}
	f.Connect = tunnels
	if err = errors.Join(err, perr, f.Validate()); err != nil {
		return err
	}
	server := &http.Server{Addr: o.listen, Handler: (&accesslog.Handler{Output: os.Stdout}).Wrap(f), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	slog.Info("listening", "address", o.listen)
	listen := server.ListenAndServe
	if o.cert != "" {
		listen = func() error { return server.ListenAndServeTLS(o.cert, o.cert) }
	}
	service := &graceful.Service{Parts: []any{server, f}} // f ends its tunnels as well
	return service.Run(ctx, listen)
}
