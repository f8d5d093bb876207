package main

import (
	"fmt"
	"runtime"

	"github.com/modproxy/modproxy/examples/programs"
)

// nginxPeer streams both ways, as the others do, where by default it would
// write long bodies to files.
var nginxPeer = peer{name: "nginx", programs: []string{"nginx"}, debian: "nginx", command: func(j job) ([]string, error) {
	return nginxCommand(j, fmt.Sprintf(`upstream origin {
  server %s;
  keepalive 256;
  keepalive_requests 1000000000;
}
server {
  listen %s;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  location / {
    proxy_pass http://origin;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
  }
}
`, j.origin, j.listen))
}}

// nginxCommand writes the http block's content with what nginx needs besides.
func nginxCommand(j job, http string) ([]string, error) {
	return programs.NginxOptions{Workers: runtime.NumCPU(), Connections: 2*maxConnections + 64, HTTP: "error_log stderr error;\n" + http}.Args(j.dir)
}
