package main

import (
	"fmt"
	"net/http"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy"
)

// balanceFamily is what a balancer adds to a reverse proxy: our handler on a
// balancer of three members, with checks and sessions, beside our handler
// alone, which is the peer that the others are compared with. The members are
// all the same origin, each with connections of its own.
var balanceFamily = &family{origin: httpFamily.origin, peers: []peer{modproxyPeer, balancerPeer}}

var balanceWorkloads = []workload{
	{name: "balance1k", about: "GET of 1 KB, alone and balanced over three members", family: balanceFamily, method: http.MethodGet, path: "/bytes/1024", want: 1 << 10, connections: 64},
}

var balancerPeer = roleOf("balancer", "balancer")

func newBalancer(to string) (http.Handler, error) {
	var members []balancer.MemberConfig
	for n := range 3 {
		members = append(members, balancer.MemberConfig{
			Name: fmt.Sprint("member ", n+1), URL: to, Route: fmt.Sprint("r", n+1),
			Check: &balancer.Check{Method: "HEAD", Path: "/bytes/1"},
		})
	}
	b, err := balancer.New(balancer.Config{Name: "bench", Sticky: balancer.Sticky{Cookie: "ROUTEID"}}, members...)
	if err != nil {
		return nil, err
	}
	h, err := proxy.NewHandler("/", "balancer://bench")
	if err != nil {
		return nil, err
	}
	h.Transport = b
	return h, nil
}
