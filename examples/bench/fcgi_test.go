package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// TestFCGIPeers runs the scripts through each proxy with the configuration that
// is measured.
func TestFCGIPeers(t *testing.T) {
	requireInstalled(t, &fcgiFamily.origin)
	for i := range fcgiFamily.peers {
		p := &fcgiFamily.peers[i]
		t.Run(p.name, func(t *testing.T) {
			requireInstalled(t, p)
			cs, stop, err := startAll(t.Context(), &options{}, &fcgiWorkloads[0], []*peer{p}, programs.Folder(t))
			defer stop()
			require.NoError(t, err)
			for i := range fcgiWorkloads {
				w := &fcgiWorkloads[i]
				worker := &loadWorker{addr: cs[0].addr, want: w.want, request: rawRequest(w, cs[0].addr)}
				require.NoError(t, worker.connection(t.Context(), time.Time{}), w.name)
			}
		})
	}
}
