package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFTPPeers gets the files through each proxy with the configuration that is
// measured.
func TestFTPPeers(t *testing.T) {
	requireInstalled(t, (&peer{programs: []string{"vsftpd"}}).find() != "" && os.Geteuid() == 0, "vsftpd")
	dir, err := os.MkdirTemp("", "bench-test-*") // t.TempDir is closed to other users
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.Chmod(dir, 0o755))
	var peers []*peer
	for i := range ftpFamily.peers {
		p := &ftpFamily.peers[i]
		requireInstalled(t, p.find() != "", p.debian)
		peers = append(peers, p)
	}
	cs, stop, err := startAll(t.Context(), &options{}, &ftpWorkloads[0], peers, dir)
	defer stop()
	require.NoError(t, err)
	for _, c := range cs {
		for i := range ftpWorkloads {
			w := &ftpWorkloads[i]
			worker := &loadWorker{addr: c.addr, want: w.want, request: rawRequest(w, c.addr)}
			require.NoError(t, worker.connection(t.Context(), time.Time{}), "%s %s", c.peer.name, w.name)
		}
	}
}
