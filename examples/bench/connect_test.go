package main

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// TestConnectPeers sends requests through a tunnel of each proxy.
func TestConnectPeers(t *testing.T) {
	for i := range connectFamily.peers {
		p := &connectFamily.peers[i]
		t.Run(p.name, func(t *testing.T) {
			if p.name == "goproxy" {
				buildGoproxy(t)
			}
			requireInstalled(t, p)
			origin := httptest.NewServer(newOrigin())
			defer origin.Close()
			at := origin.Listener.Addr().String()
			c, err := startPeer(t.Context(), p, filepath.Join(programs.Folder(t), p.name), at, "")
			require.NoError(t, err)
			defer c.process.Stop()
			for i := range connectWorkloads {
				w := &connectWorkloads[i]
				worker := &loadWorker{addr: c.addr, origin: at, want: w.want, request: rawRequest(w, at)}
				if p.relays {
					worker.origin = ""
				}
				require.NoError(t, worker.connection(t.Context(), time.Time{}), w.name)
			}
		})
	}
	requireNoChildren(t)
}

// buildGoproxy puts the program of the folder goproxy into PATH. Its module has
// requirements of its own, which are not at hand everywhere.
func buildGoproxy(t *testing.T) {
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-C", "goproxy", "-o", dir, ".").CombinedOutput()
	if err != nil {
		programs.Cannot(t, "goproxy cannot be built: %v: %s", err, out)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}
