package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"

	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy/access"
)

// connectFamily is a forward proxy with a tunnel to the origin for each
// connection of the load. HAProxy knows no CONNECT: it relays each connection
// to the origin, which is less work.
var connectFamily = &family{
	origin:  httpFamily.origin,
	tunnels: true,
	peers: []peer{
		roleOf("modproxy", "connect"),
		roleOf("plain", "plainconnect"),
		{name: "goproxy", programs: []string{"modproxy-bench-goproxy"}, debian: "none: see README.md", command: func(j job) ([]string, error) {
			return []string{j.listen}, nil
		}},
		{name: "apache", programs: []string{"apache2", "httpd"}, debian: "apache2", command: func(j job) ([]string, error) {
			return apacheCommand(j, "proxy proxy_connect", "ProxyRequests On\nAllowCONNECT 1-65535\n<Proxy *>\nRequire all granted\n</Proxy>\n")
		}},
		{name: "squid", programs: []string{"squid"}, debian: "squid", command: func(j job) ([]string, error) {
			return programs.SquidArgs(j.dir, j.listen, "http_access allow all\n")
		}},
		{name: "haproxy", programs: []string{"haproxy"}, debian: "haproxy", relays: true, command: func(j job) ([]string, error) {
			path, err := writeConfig(j.dir, "haproxy.cfg", fmt.Sprintf(`global
  nbthread %d
  maxconn %d
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen in
  bind %s
  server origin %s
`, runtime.NumCPU(), maxConnections, j.listen, j.origin))
			return []string{"-db", "-f", path}, err
		}},
	},
}

var connectWorkloads = []workload{
	{name: "connect1k", about: "GET of 1 KB through a tunnel", family: connectFamily, method: http.MethodGet, path: "/bytes/1024", want: 1 << 10, connections: 64},
	{name: "connect10m", about: "GET of 10 MB through a tunnel", family: connectFamily, method: http.MethodGet, path: "/bytes/10485760", want: 10 << 20, connections: 8},
	{name: "connectpost10m", about: "POST of 10 MB through a tunnel", family: connectFamily, method: http.MethodPost, path: "/sink", send: 10 << 20, want: int64(len(sinkAnswer)), connections: 8},
}

// newConnect is our forward proxy.
func newConnect() http.Handler {
	return &connect.Handler{
		Clients:      &access.Clients{Access: &access.Access{}},
		Ports:        []access.PortRange{{First: 1, Last: 65535}},
		Destinations: &access.Destinations{AllowPrivate: true},
	}
}

// newPlainConnect is how a Go program is usually written that serves CONNECT:
// a goroutine with io.Copy for each direction.
func newPlainConnect() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		back, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, "no tunnel", http.StatusServiceUnavailable)
			return
		}
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = back.Close()
			return
		}
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		relay := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			_ = to.(*net.TCPConn).CloseWrite()
		}
		go func() {
			defer client.Close()
			defer back.Close()
			go relay(back, client)
			relay(client, back)
		}()
	})
}

// openTunnel asks the proxy behind c for a tunnel to the origin.
func openTunnel(c io.Writer, r *bufio.Reader, origin string) error {
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", origin); err != nil {
		return err
	}
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New("no tunnel: " + resp.Status)
	}
	return err
}
