package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/modproxy/modproxy/examples/programs"
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
	dir    string // of the peer's own; other users may read it
	listen string // host:port
	port   string // of listen
	origin string // host:port
}

// find returns the path of the peer's program, or "" if it is not installed.
func (p *peer) find() string {
	if len(p.programs) == 0 {
		path, _ := os.Executable()
		return path
	}
	path, _ := programs.Lookup(p.debian, p.programs...)
	return path
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

var modproxyPeer = roleOf("modproxy", "modproxy")

// roleOf is a proxy of ours, which this program is when it serves that role.
func roleOf(name, role string) peer {
	return peer{name: name, command: func(j job) ([]string, error) { return j.serve(role, "http://"+j.origin) }}
}

// serve returns the arguments for a role of this program.
func (j job) serve(role, to string) ([]string, error) {
	return []string{"serve", role, "-listen", j.listen, "-to", to}, nil
}

// httputilPeer is the standard library's proxy as it comes: its transport,
// http.DefaultTransport, keeps two idle connections to an origin.
var httputilPeer = roleOf("httputil", "httputil")

// httputilTunedPeer is the same with a transport that keeps as many idle
// connections as the other proxies do.
var httputilTunedPeer = roleOf("httputil-tuned", "httputil-tuned")

// floorPeer is a net/http server that answers by itself: below its cost no
// handler under net/http can come.
var floorPeer = roleOf("floor", "origin")
