package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFCGIPeers runs the scripts through each proxy with the configuration that
// is measured.
func TestFCGIPeers(t *testing.T) {
	requireInstalled(t, (&peer{programs: fpmPrograms}).find() != "", "php-fpm")
	for i := range fcgiFamily.peers {
		p := &fcgiFamily.peers[i]
		t.Run(p.name, func(t *testing.T) {
			requireInstalled(t, p.find() != "", p.debian)
			dir, err := os.MkdirTemp("", "bench-test-*") // t.TempDir is closed to other users
			require.NoError(t, err)
			defer os.RemoveAll(dir)
			require.NoError(t, os.Chmod(dir, 0o755))
			cs, stop, err := startAll(t.Context(), &options{}, &fcgiWorkloads[0], []*peer{p}, dir)
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
