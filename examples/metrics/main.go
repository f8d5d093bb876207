// Command metrics is a load balancer that Prometheus can look into: /metrics has
// each request, each member and each backend.
//
//	go run . http://127.0.0.1:9001 http://127.0.0.1:9002
//	curl http://127.0.0.1:8080/metrics
package main

import (
	"flag"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	flag.Parse()
	h, err := site(flag.Args())
	if err == nil {
		slog.Info("listening", "site", "http://"+*listen+"/", "metrics", "http://"+*listen+"/metrics")
		err = (&http.Server{Addr: *listen, Handler: h, ReadHeaderTimeout: 10 * time.Second}).ListenAndServe()
	}
	slog.Error("cannot serve", "error", err)
	os.Exit(1)
}

func site(members []string) (http.Handler, error) {
	// All members share a transport, which makes a backend for each.
	transport, tunnels := &proxy.Transport{}, &tunnel.Registry{}
	var list []balancer.MemberConfig
	for _, u := range members {
		list = append(list, balancer.MemberConfig{URL: u, RoundTripper: transport})
	}
	b, err := balancer.New(balancer.Config{Name: "app"}, list...)
	if err != nil {
		return nil, err
	}
	app := &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "app", Path: "/"}, Transport: b, Tunnels: tunnels}

	registry := prometheus.NewRegistry()
	registry.MustRegister(&parts{transport, b, tunnels})
	mux := http.NewServeMux()
	mux.Handle("/", observer(registry).Wrap(app))
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{})) // behind access control, in service
	return mux, nil
}
