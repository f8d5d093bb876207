package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// TestFTPPeers gets the files through each proxy with the configuration that is
// measured.
func TestFTPPeers(t *testing.T) {
	requireInstalled(t, &ftpFamily.origin)
	programs.NeedRoot(t, "vsftpd")
	var peers []*peer
	for i := range ftpFamily.peers {
		p := &ftpFamily.peers[i]
		requireInstalled(t, p)
		peers = append(peers, p)
	}
	cs, stop, err := startAll(t.Context(), &options{}, &ftpWorkloads[0], peers, programs.Folder(t))
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
