package main

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// fcgiFamily runs a script of php-fpm over kept connections. The scripts are in
// the folder that those of all the proxies are in.
var fcgiFamily = &family{
	origin: peer{name: "php-fpm", programs: []string{"php-fpm", "php-fpm*"}, debian: "php-fpm", command: fpmCommand},
	peers:  []peer{modproxyFCGIPeer, apacheFCGIPeer, nginxFCGIPeer, caddyFCGIPeer},
}

var fcgiWorkloads = []workload{
	{name: "fcgi1k", about: "a PHP script of 1 KB", family: fcgiFamily, method: http.MethodGet, path: "/1024.php", want: 1 << 10, connections: 16},
	{name: "fcgi10m", about: "a PHP script of 10 MB", family: fcgiFamily, method: http.MethodGet, path: "/10485760.php", want: 10 << 20, connections: 4},
}

// fpmChildren are enough for the idle connections of every proxy.
const fpmChildren = 128

func fpmCommand(j job) ([]string, error) {
	for _, n := range []int{1 << 10, 10 << 20} {
		text := fmt.Sprintf("<?php header('Content-Type: application/octet-stream'); for ($i = 0; $i < %d; $i++) echo '%s';", n/1024, string(make1K()))
		if _, err := writeConfig(j.scripts(), fmt.Sprintf("%d.php", n), text); err != nil {
			return nil, err
		}
	}
	return programs.PHPFPMOptions{Children: fpmChildren, More: "listen.backlog = 1024"}.Args(j.dir, j.listen)
}

func make1K() []byte {
	b := make([]byte, 1<<10)
	for i := range b {
		b[i] = "modproxy "[i%9]
	}
	return b
}

// scripts is the folder of the scripts, beside those of the programs.
func (j job) scripts() string { return filepath.Dir(j.dir) }

var modproxyFCGIPeer = peer{name: "modproxy", command: func(j job) ([]string, error) {
	return j.serve("fcgi", "fcgi://"+j.origin+j.scripts()+"/")
}}

// newFCGI keeps as many connections as are used, like the others.
func newFCGI(to string) (http.Handler, error) {
	h, err := proxy.NewHandler("/", to)
	if err != nil {
		return nil, err
	}
	h.Transport = &fcgi.Transport{NewBackend: func(u *url.URL) *backend.Backend {
		return &backend.Backend{URL: u, MaxConns: fpmChildren, IdleTTL: time.Minute, ReadBufferSize: 32 << 10}
	}}
	return h, nil
}

var apacheFCGIPeer = peer{name: "apache", programs: apachePeer.programs, debian: apachePeer.debian, command: func(j job) ([]string, error) {
	return apacheCommand(j, "proxy proxy_fcgi", fmt.Sprintf("DocumentRoot %[2]s\nProxyPass / fcgi://%[1]s%[2]s/ enablereuse=on max=16\n", j.origin, j.scripts()))
}}

var nginxFCGIPeer = peer{name: "nginx", programs: nginxPeer.programs, debian: nginxPeer.debian, command: func(j job) ([]string, error) {
	params := ""
	for _, p := range []string{
		"SCRIPT_FILENAME $document_root$fastcgi_script_name", "QUERY_STRING $query_string", "REQUEST_METHOD $request_method", "CONTENT_TYPE $content_type",
		"CONTENT_LENGTH $content_length", "SCRIPT_NAME $fastcgi_script_name", "REQUEST_URI $request_uri", "DOCUMENT_ROOT $document_root",
		"SERVER_PROTOCOL $server_protocol", "REQUEST_SCHEME $scheme", "GATEWAY_INTERFACE CGI/1.1", "SERVER_SOFTWARE nginx", "REMOTE_ADDR $remote_addr",
		"REMOTE_PORT $remote_port", "SERVER_ADDR $server_addr", "SERVER_PORT $server_port", "SERVER_NAME $server_name",
	} {
		params += "    fastcgi_param " + p + ";\n"
	}
	return nginxCommand(j, fmt.Sprintf(`upstream origin {
  server %s;
  keepalive 16;
  keepalive_requests 1000000000;
}
server {
  listen %s;
  keepalive_requests 1000000000;
  root %s;
  location / {
    fastcgi_pass origin;
    fastcgi_keep_conn on;
    fastcgi_max_temp_file_size 0;
%s  }
}
`, j.origin, j.listen, j.scripts(), params))
}}

// caddyFCGIPeer has no way to keep connections.
var caddyFCGIPeer = peer{name: "caddy", programs: caddyPeer.programs, debian: caddyPeer.debian, command: func(j job) ([]string, error) {
	path, err := writeConfig(j.dir, "Caddyfile", fmt.Sprintf(`{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
http://:%s {
	bind 127.0.0.1
	root * %s
	reverse_proxy %s {
		transport fastcgi {
			split .php
		}
	}
}
`, j.port, j.scripts(), j.origin))
	return []string{"run", "--config", path, "--adapter", "caddyfile"}, err
}}
