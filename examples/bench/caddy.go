package main

import "fmt"

// caddyPeer sends the forwarding fields by itself.
var caddyPeer = peer{name: "caddy", programs: []string{"caddy"}, debian: "caddy", command: func(j job) ([]string, error) {
	path, err := writeConfig(j.dir, "Caddyfile", fmt.Sprintf(`{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
http://:%s {
	bind 127.0.0.1
	reverse_proxy %s {
		transport http {
			keepalive_idle_conns_per_host %d
			compression off
		}
	}
}
`, j.port, j.origin, maxConnections))
	return []string{"run", "--config", path, "--adapter", "caddyfile"}, err
}}
