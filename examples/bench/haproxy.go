package main

import (
	"fmt"
	"runtime"
)

var haproxyPeer = peer{name: "haproxy", programs: []string{"haproxy"}, debian: "haproxy", command: func(j job) ([]string, error) { return haproxyCommand(j, "") }}

// haproxyCommand writes the configuration, with options besides.
func haproxyCommand(j job, options string) ([]string, error) {
	path, err := writeConfig(j.dir, "haproxy.cfg", fmt.Sprintf(`global
  nbthread %d
  maxconn %d
defaults
  mode http
  option forwardfor
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
%sfrontend in
  bind %s
  http-request set-header X-Forwarded-Host %%[req.hdr(host)]
  http-request set-header X-Forwarded-Proto http
  default_backend origin
backend origin
  server origin %s
`, runtime.NumCPU(), maxConnections, options, j.listen, j.origin))
	return []string{"-db", "-f", path}, err
}
