package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/modproxy/modproxy/ajp"
)

// ajpFamily is a reverse proxy to a container by AJP. Tomcat would need more
// than all proxies together, so the container is our own server.
var ajpFamily = &family{
	origin: roleOf("origin", "ajporigin"),
	peers: []peer{
		{name: "modproxy", command: func(j job) ([]string, error) { return j.serve("ajp", "ajp://"+j.origin) }},
		{name: "apache", programs: []string{"apache2", "httpd"}, debian: "apache2", command: func(j job) ([]string, error) {
			return apacheCommand(j, "proxy proxy_ajp", fmt.Sprintf("ProxyPass / ajp://%s/\n", j.origin))
		}},
	},
}

var ajpWorkloads = []workload{
	{name: "ajp1k", about: "GET of 1 KB from a container", family: ajpFamily, method: http.MethodGet, path: "/bytes/1024", want: 1 << 10, connections: 64},
	{name: "ajp10m", about: "GET of 10 MB from a container", family: ajpFamily, method: http.MethodGet, path: "/bytes/10485760", want: 10 << 20, connections: 8},
}

// serveAJP is the role ajporigin: the origin of the other families as a
// container.
func serveAJP(ctx context.Context, listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &ajp.Server{Handler: newOrigin()}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, ajp.ErrServerClosed) {
		return err
	}
	return nil
}
