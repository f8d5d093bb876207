package main

import (
	"fmt"

	"github.com/modproxy/modproxy/examples/programs"
)

// apachePeer is httpd with the event MPM.
var apachePeer = peer{name: "apache", programs: []string{"apache2", "httpd"}, debian: "apache2", command: func(j job) ([]string, error) {
	return apacheCommand(j, "proxy proxy_http", fmt.Sprintf("ProxyPass / http://%s/\n", j.origin))
}}

// apacheCommand writes the directives of a proxy with what httpd needs besides.
func apacheCommand(j job, modules, directives string) ([]string, error) {
	return programs.HTTPDArgs(j.dir, j.listen, modules, `LogLevel error
StartServers 2
MinSpareThreads 75
MaxSpareThreads 250
ThreadsPerChild 64
MaxRequestWorkers 128
MaxKeepAliveRequests 0
KeepAliveTimeout 60
`+directives)
}
