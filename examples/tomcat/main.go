// Command tomcat is a reverse proxy to two Tomcats by AJP: sessions stay with
// the Tomcat that has them, by the jvmRoute in their name, and a Tomcat that
// does not answer a CPING gets no requests.
//
//	go run ./examples/tomcat -secret s3cret node1=127.0.0.1:8009 node2=127.0.0.1:8010
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/graceful"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	secret := flag.String("secret", "", "secret of the connectors")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *listen, *secret, flag.Args()); err != nil {
		slog.Error("cannot serve", "error", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, listen, secret string, nodes []string) error {
	var members []balancer.MemberConfig
	var backends []any
	for _, node := range nodes {
		route, addr, ok := strings.Cut(node, "=")
		if !ok {
			return fmt.Errorf("%q: want jvmRoute=host:port", node)
		}
		b, err := backend.Parse("ajp://" + addr)
		if err != nil {
			return err
		}
		backends = append(backends, b)
		members = append(members, balancer.MemberConfig{ // BalancerMember ajp://addr route=… secret=… ping=20 hcmethod=CPING
			Name: route, URL: "ajp://" + addr, Route: route, Backend: b,
			RoundTripper: &ajp.Transport{Backend: b, Secret: secret, Ping: 20 * time.Second},
			Check: &balancer.Check{Interval: time.Second, Func: func(ctx context.Context, m *balancer.Member) error {
				return ajp.CPing(ctx, m.Backend())
			}},
		})
	}
	sessions := balancer.ParseSticky("JSESSIONID|jsessionid")
	tomcats, err := balancer.New(balancer.Config{Name: "tomcats", Sticky: sessions, Logger: slog.Default()}, members...)
	if err != nil {
		return err
	}
	// AJP tells the client's address by itself.
	to := &url.URL{Scheme: "balancer", Host: "tomcats", Path: "/"}
	h := &proxy.Handler{Target: to, Transport: tomcats, Forwarded: proxy.ForwardedNone}
	slog.Info("listening", "url", "http://"+listen+"/", "tomcats", nodes)
	server := &http.Server{Addr: listen, Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	service := &graceful.Service{Parts: append([]any{server, h, tomcats}, backends...)} // as a request meets them
	return service.Run(ctx, server.ListenAndServe)
}
