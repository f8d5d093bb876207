package main

import "net/http"

// httpFamily is a plain reverse proxy: "/" to an HTTP/1.1 origin over
// keep-alive connections, with forwarding fields and without an access log.
var httpFamily = &family{
	origin: roleOf("origin", "origin"),
	peers:  []peer{modproxyPeer, httputilPeer, httputilTunedPeer, apachePeer, nginxPeer, haproxyPeer, caddyPeer, floorPeer},
}

// Few connections carry the long bodies, since those that the end of a round
// cuts off have cost something and do not count.
var httpWorkloads = []workload{
	{name: "get1k", about: "GET of 1 KB", family: httpFamily, method: http.MethodGet, path: "/bytes/1024", want: 1 << 10, connections: 64},
	{name: "get64k", about: "GET of 64 KB", family: httpFamily, method: http.MethodGet, path: "/bytes/65536", want: 64 << 10, connections: 64},
	{name: "get10m", about: "GET of 10 MB", family: httpFamily, method: http.MethodGet, path: "/bytes/10485760", want: 10 << 20, connections: 8},
	{name: "post1m", about: "POST of 1 MB", family: httpFamily, method: http.MethodPost, path: "/sink", send: 1 << 20, want: int64(len(sinkAnswer)), connections: 16},
}
