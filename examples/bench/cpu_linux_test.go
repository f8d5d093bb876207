package main

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// requireNoChildren fails if a process that this one has started is left.
func requireNoChildren(t *testing.T) {
	t.Helper()
	stats, err := allStats()
	require.NoError(t, err)
	for pid := range stats {
		if pid != os.Getpid() && descends(stats, pid, os.Getpid()) {
			t.Errorf("process %d is left", pid)
		}
	}
}

func TestParseStat(t *testing.T) {
	s, err := parseStat([]byte("77 (a) b (c) S 42 77 77 0 -1 4194560 100 200 0 0 7 5 3 1 20 0 4 0 1234 1000 10"))
	require.NoError(t, err)
	require.Equal(t, procStat{42, 160 * time.Millisecond, 10}, s)
	for _, bad := range []string{"", "77 (a) S 42",
		"77 (a) S x 77 77 0 -1 0 0 0 0 0 1 1 1 1 0 0 0 0 0 0 10",
		"77 (a) S 1 77 77 0 -1 0 0 0 0 0 1 x 1 1 0 0 0 0 0 0 10",
		"77 (a) S 1 77 77 0 -1 0 0 0 0 0 1 1 1 1 0 0 0 0 0 0 x",
	} {
		_, err := parseStat([]byte(bad))
		require.Error(t, err, bad)
	}
}

// TestCPUTimeCountsChildren burns time in a grandchild, of which a part has
// ended and a part is still at work.
func TestCPUTimeCountsChildren(t *testing.T) {
	sh := programs.Find(t, "dash", "sh")
	cmd := exec.Command(sh, "-c", `sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; sh -c 'while :; do :; done'; :`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	require.Eventually(t, func() bool {
		used, err := cpuTime(cmd.Process.Pid)
		return err == nil && used > 200*time.Millisecond
	}, time.Minute, 10*time.Millisecond)
	_, err := cpuTime(-1)
	require.Error(t, err)
}
