package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
)

// peer is a proxy that can be measured. Its configuration must say the same
// as that of the others of its family.
type peer struct {
	name     string
	programs []string // one of them must be installed; empty: this program
	debian   string   // the package it is in
	relays   bool     // to the origin, without being asked by CONNECT

	// command writes the configuration into job.dir and returns the arguments.
	command func(job job) ([]string, error)
}

// job is what a peer has to do.
type job struct {
	dir        string // of the peer's own; other users may read it
	listen     string // host:port
	port       string // of listen
	origin     string // host:port
	cpuProfile string
}

// find returns the path of the peer's program, or "" if it is not installed.
func (p *peer) find() string {
	if len(p.programs) == 0 {
		path, err := os.Executable()
		if err != nil {
			return ""
		}
		return path
	}
	for _, name := range p.programs {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		// Servers are not on every user's path.
		if path, err := exec.LookPath(filepath.Join("/usr/sbin", name)); err == nil {
			return path
		}
	}
	return ""
}

// choosePeers returns the peers of a family with the given names, or all that
// are installed.
func choosePeers(f *family, names []string) ([]*peer, error) {
	var chosen []*peer
	for i := range f.peers {
		p := &f.peers[i]
		asked := slices.Contains(names, p.name)
		installed := p.find() != ""
		if asked && !installed {
			return nil, fmt.Errorf("%s is not installed (Debian: %s)", p.name, p.debian)
		}
		if asked || names == nil && installed {
			chosen = append(chosen, p)
		}
	}
	for _, name := range names {
		if !slices.Contains(f.names(), name) {
			return nil, fmt.Errorf("no proxy %q for this workload; see -h", name)
		}
	}
	return chosen, nil
}

// writeConfig writes a configuration and returns its path.
func writeConfig(dir, name, text string) (string, error) {
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// unprivileged is whom the workers of a server started by root run as; the
// names are empty if we are not root.
func unprivileged() (userName, groupName string, err error) {
	if os.Geteuid() != 0 {
		return "", "", nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return "", "", err
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return "", "", err
	}
	return u.Username, g.Name, nil
}

var modproxyPeer = roleOf("modproxy", "modproxy")

// roleOf is a proxy of ours, which this program is when it serves that role.
func roleOf(name, role string) peer {
	return peer{name: name, command: func(j job) ([]string, error) {
		args := []string{"serve", role, "-listen", j.listen, "-to", "http://" + j.origin}
		if j.cpuProfile != "" && name == "modproxy" {
			args = append(args, "-cpuprofile", j.cpuProfile)
		}
		return args, nil
	}}
}

// httputilPeer is the standard library's proxy as it comes: its transport,
// http.DefaultTransport, keeps two idle connections to an origin.
var httputilPeer = peer{name: "httputil", command: func(j job) ([]string, error) {
	return []string{"serve", "httputil", "-listen", j.listen, "-to", "http://" + j.origin}, nil
}}

// httputilTunedPeer is the same with a transport that keeps as many idle
// connections as the other proxies do.
var httputilTunedPeer = peer{name: "httputil-tuned", command: func(j job) ([]string, error) {
	return []string{"serve", "httputil-tuned", "-listen", j.listen, "-to", "http://" + j.origin}, nil
}}

// floorPeer is a net/http server that answers by itself: below its cost no
// handler under net/http can come.
var floorPeer = peer{name: "floor", command: func(j job) ([]string, error) {
	return []string{"serve", "origin", "-listen", j.listen}, nil
}}
