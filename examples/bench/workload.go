package main

import (
	"fmt"
	"slices"
	"strings"
)

// workload is one kind of request that every proxy of its family is loaded
// with.
type workload struct {
	name, about string
	family      *family
	method      string
	path        string // of the origin
	send        int    // bytes of the request's body
	want        int64  // bytes of the answer's body
	connections int
	idle        bool // what is measured is memory, of connections that say nothing

	origin string // host:port that a tunnel is to lead to; empty for none. Known when it runs
}

// family is what workloads share: an origin, and the proxies that can be put
// in front of it, ours first.
type family struct {
	origin     peer
	tunnels    bool // the load goes through tunnels to the origin
	webSockets bool // each connection of the load is a WebSocket
	peers      []peer
}

func (f *family) names() []string {
	var names []string
	for _, p := range f.peers {
		names = append(names, p.name)
	}
	return names
}

// workloads are those of all families, in the order of the help text.
var workloads = slices.Concat(httpWorkloads, balanceWorkloads, fcgiWorkloads, ajpWorkloads, connectWorkloads, ftpWorkloads, cacheWorkloads, wsWorkloads)

// chooseWorkloads returns the workloads of a list of names.
func chooseWorkloads(names string) ([]*workload, error) {
	var chosen []*workload
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for i := range workloads {
			if w := &workloads[i]; name == w.name || name == "all" {
				chosen, found = append(chosen, w), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no workload %q; see -h", name)
		}
	}
	return chosen, nil
}
