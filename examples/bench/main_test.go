package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/modproxy/modproxy/examples/programs"
)

// TestMain also is the program that the tests start as origin and proxies.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		main()
	}
	goleak.VerifyTestMain(m)
}

func TestRunOursBesideHTTPUtil(t *testing.T) {
	var stdout, stderr programs.Output
	profile := filepath.Join(t.TempDir(), "cpu")
	code := run(t.Context(), []string{"-workload", "get1k,get10m,post1m", "-peers", "modproxy,httputil", "-load", "builtin",
		"-time", "200ms", "-rounds", "2", "-connections", "2", "-cpuprofile", profile}, &stdout, &stderr)
	require.Zero(t, code, stderr.String())
	out := stdout.String()
	require.Equal(t, 3, strings.Count(out, "its/ours"), out)
	require.Equal(t, 3, strings.Count(out, " modproxy "), out)
	require.Equal(t, 3, strings.Count(out, " httputil "), out)
	require.Contains(t, out, "post1m: POST of 1 MB, 2 keep-alive connections, 2 rounds of 200ms, built-in load\n")
	info, err := os.Stat(profile)
	require.NoError(t, err)
	require.NotZero(t, info.Size())
	requireNoChildren(t)
}

// TestInterrupt ends a run while a proxy is loaded.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr programs.Output
	done := make(chan int)
	go func() {
		done <- run(ctx, []string{"-peers", "modproxy", "-load", "builtin", "-time", "10m", "-rounds", "100"}, &stdout, &stderr)
	}()
	require.Eventually(t, func() bool { return strings.Contains(stderr.String(), "round 1 of 100") }, 30*time.Second, 5*time.Millisecond)
	cancel()
	require.Equal(t, 1, <-done)
	require.Contains(t, stderr.String(), context.Canceled.Error())
	require.Empty(t, stdout.String())
	requireNoChildren(t)
}

// TestChildEndsEarly reports what a proxy that does not come up has said.
func TestChildEndsEarly(t *testing.T) {
	broken := roleOf("broken", "nobody")
	_, err := startPeer(t.Context(), &broken, filepath.Join(t.TempDir(), "x"), "", "")
	require.ErrorContains(t, err, `unknown role "nobody"`)
	requireNoChildren(t)
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-workload nothing":           `no workload "nothing"`,
		"-time -1s":                   "-time must be",
		"-time 11m":                   "-time must be",
		"-rounds 0":                   "-rounds must be",
		"-connections 5000":           "-connections must be",
		"-connections -1":             "-connections must be",
		"extra":                       `unexpected argument "extra"`,
		"-load ab -time 1s":           "-load must be",
		"-peers squid":                `no proxy "squid"`,
		"-peers modproxy,squid,caddi": `no proxy "squid"`,
	} {
		var stderr programs.Output
		require.NotZero(t, run(t.Context(), strings.Fields(args), io.Discard, &stderr), args)
		require.Contains(t, stderr.String(), want, args)
	}
	var stderr programs.Output
	require.Zero(t, run(t.Context(), []string{"-h"}, io.Discard, &stderr))
	for _, w := range workloads {
		require.Contains(t, stderr.String(), w.about)
	}
}

// TestPeers sends requests through each proxy with the configuration that is
// measured.
func TestPeers(t *testing.T) {
	peers := append(slices.Clone(httpFamily.peers), balancerPeer)
	for i := range peers {
		p := &peers[i]
		if p.name == floorPeer.name {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			requireInstalled(t, p)
			var last atomic.Pointer[http.Header]
			inner := newOrigin()
			origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if header := r.Header.Clone(); r.Method != http.MethodHead { // a balancer's check
					last.Store(&header)
				}
				inner.ServeHTTP(w, r)
			}))
			defer origin.Close()
			c, err := startPeer(t.Context(), p, filepath.Join(programs.Folder(t), p.name), origin.Listener.Addr().String(), "")
			require.NoError(t, err)
			defer c.process.Stop()
			for i := range httpWorkloads {
				w := &httpWorkloads[i]
				worker := &loadWorker{addr: c.addr, want: w.want, request: rawRequest(w, c.addr)}
				require.NoError(t, worker.connection(t.Context(), time.Time{}), w.name)
				require.Equal(t, "127.0.0.1", last.Load().Get("X-Forwarded-For"), w.name)
				require.Equal(t, c.addr, last.Load().Get("X-Forwarded-Host"), w.name)
			}
		})
	}
	requireNoChildren(t)
}

func TestWrk(t *testing.T) {
	path := programs.Find(t, "wrk", "wrk")
	origin := httptest.NewServer(newOrigin())
	defer origin.Close()
	for _, name := range []string{"get1k", "post1m"} {
		chosen, err := chooseWorkloads(name)
		require.NoError(t, err)
		l, err := wrk(path)(t.Context(), t.TempDir(), origin.Listener.Addr().String(), chosen[0], 2, time.Millisecond)
		require.NoError(t, err)
		require.NoError(t, l.check())
		require.Positive(t, l.p99)
	}
}

// requireInstalled skips a test that needs a program, or fails it where all
// programs should be there.
func requireInstalled(t *testing.T, p *peer) {
	t.Helper()
	if len(p.programs) > 0 {
		programs.Find(t, p.debian, p.programs...)
	}
}
