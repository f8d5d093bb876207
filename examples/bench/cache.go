package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/cache/disk"
	"github.com/modproxy/modproxy/proxy"
)

// cacheFamily answers from a cache: the first request alone goes to the origin.
// The names say where the answers are kept.
var cacheFamily = &family{
	origin: httpFamily.origin,
	peers: []peer{
		roleOf("modproxy", "cache-memory"),
		roleOf("modproxy-disk", "cache-disk"),
		varnishCachePeer, nginxCachePeer, apacheCachePeer, floorPeer,
	},
}

var cacheWorkloads = []workload{
	{name: "cache1k", about: "GET of 1 KB from a cache", family: cacheFamily, method: http.MethodGet, path: "/cacheable/1024", want: 1 << 10, connections: 64},
	{name: "cache1m", about: "GET of 1 MB from a cache", family: cacheFamily, method: http.MethodGet, path: "/cacheable/1048576", want: 1 << 20, connections: 16},
}

// newCache is our cache in front of our proxy. On disk, it is in the working
// directory.
func newCache(to string, onDisk bool) (http.Handler, error) {
	h, err := proxy.NewHandler("/", to)
	if err != nil {
		return nil, err
	}
	c := new(cache.Cache)
	if onDisk {
		c.Store = &disk.Store{Root: "modproxy-cache-" + strconv.Itoa(os.Getpid())}
	}
	return c.Wrap(h), nil
}

var varnishCachePeer = peer{name: "varnish", programs: []string{"varnishd"}, debian: "varnish", command: func(j job) ([]string, error) {
	host, port, err := net.SplitHostPort(j.origin)
	if err != nil {
		return nil, err
	}
	path, err := writeConfig(j.dir, "default.vcl", fmt.Sprintf(`vcl 4.1;
backend default { .host = "%s"; .port = "%s"; }
`, host, port))
	return []string{"-F", "-j", "none", "-n", filepath.Join(j.dir, "varnish"), "-a", j.listen, "-f", path, "-s", "malloc,64m"}, err
}}

var nginxCachePeer = peer{name: "nginx", programs: nginxPeer.programs, debian: nginxPeer.debian, command: func(j job) ([]string, error) {
	return nginxCommand(j, fmt.Sprintf(`proxy_cache_path %[3]s/cache keys_zone=zone:1m;
sendfile on;
tcp_nopush on;
keepalive_requests 1000000000;
server {
  listen %[1]s;
  location / {
    proxy_pass http://%[2]s;
    proxy_cache zone;
  }
}
`, j.listen, j.origin, j.dir))
}}

var apacheCachePeer = peer{name: "apache", programs: apachePeer.programs, debian: apachePeer.debian, command: func(j job) ([]string, error) {
	root := filepath.Join(j.dir, "cache")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(root, 0o777); err != nil { // for workers of another user
		return nil, err
	}
	return apacheCommand(j, "proxy proxy_http cache cache_disk", fmt.Sprintf(`ProxyPass / http://%s/
CacheRoot %s
CacheMaxFileSize 100000000
<Location />
CacheEnable disk
</Location>
`, j.origin, root))
}}
