// Command balancer is a load balancer in a few lines: sessions, health checks,
// failover, and a manager at /balancer-manager. Without members it starts three
// small ones itself. How to stop gracefully is in examples/gracefulshutdown.
//
//	go run ./examples/balancer
//	go run ./examples/balancer http://127.0.0.1:9001 http://127.0.0.1:9002
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/balancer/manager"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	flag.Parse()
	members := flag.Args()
	for n := 1; flag.NArg() == 0 && n <= 3; n++ {
		members = append(members, tinyMember(n))
	}
	h, err := handler(members)
	if err == nil {
		slog.Info("listening", "site", "http://"+*listen+"/", "manager", "http://"+*listen+"/balancer-manager")
		server := &http.Server{Addr: *listen, Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
		err = server.ListenAndServe()
	}
	slog.Error("cannot serve", "error", err)
	os.Exit(1)
}

// handler is the whole site: <Proxy balancer://app>, ProxyPass / balancer://app/.
func handler(urls []string) (http.Handler, error) {
	var members []balancer.MemberConfig
	for i, u := range urls {
		members = append(members, balancer.MemberConfig{
			URL: u, Route: fmt.Sprintf("node%d", i+1),
			Check: &balancer.Check{Method: "GET", Interval: 5 * time.Second}, SlowStart: 10 * time.Second,
		})
	}
	b, err := balancer.New(balancer.Config{
		Name: "app", Method: &balancer.ByRequests{}, Logger: slog.Default(),
		Sticky: balancer.Sticky{Cookie: "ROUTEID", SetCookie: &balancer.RouteCookie{}},
	}, members...)
	if err != nil {
		return nil, err
	}
	page := manager.New(b)
	page.Guarded = true // by RequireIP
	mux := http.NewServeMux()
	local := access.RequireIP(netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
	mux.Handle("/balancer-manager", local(page))
	mux.Handle("/", &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "app", Path: "/"}, Transport: b})
	return mux, nil
}

// tinyMember starts a member that tells its name.
func tinyMember(n int) string {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "member %d got %s\n", n, r.URL.Path)
	})).URL
}
