package main

import (
	"bufio"
	"bytes"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// TestWSPeers sends messages through a WebSocket behind each proxy.
func TestWSPeers(t *testing.T) {
	for i := range wsFamily.peers {
		p := &wsFamily.peers[i]
		t.Run(p.name, func(t *testing.T) {
			requireInstalled(t, p)
			origin := httptest.NewServer(newWSOrigin())
			defer origin.Close()
			c, err := startPeer(t.Context(), p, filepath.Join(programs.Folder(t), p.name), origin.Listener.Addr().String(), "")
			require.NoError(t, err)
			defer c.process.Stop()
			for i := range wsWorkloads {
				w := &wsWorkloads[i]
				l := newLoadWorker(w, c.addr, "")
				require.NoError(t, l.connection(t.Context(), time.Time{}), w.name)
				require.Len(t, l.took, 1)
			}
		})
	}
	requireNoChildren(t)
}

func TestIdle(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("memory is measured on Linux only")
	}
	var stdout, stderr programs.Output
	code := run(t.Context(), []string{"-workload", "wsidle", "-peers", "modproxy,httputil", "-time", "100ms", "-rounds", "1", "-connections", "500"}, &stdout, &stderr)
	require.Zero(t, code, stderr.String())
	got := words(stdout.String())
	require.Len(t, got, 4)
	require.Equal(t, "wsidle: 500 idle WebSockets, 1 rounds, after 100ms", got[0])
	require.Regexp(t, `^modproxy \d+\.\d 1.00 1.00 `, got[2])
	require.Regexp(t, `^httputil [1-9]\d+\.\d `, got[3], "two goroutines and two buffers weigh tens of KiB")
	requireNoChildren(t)
}

func TestReadWSMessage(t *testing.T) {
	for name, tc := range map[string]struct{ frames, err string }{
		"whole":           {"\x82\x04abcd", ""},
		"parts":           {"\x02\x01a\x00\x02bc\x80\x01d", ""},
		"two bytes":       {"\x82\x7e\x00\x04abcd", ""},
		"eight bytes":     {"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x04abcd", ""},
		"short":           {"\x82\x03abc", "message of 3 bytes"},
		"long":            {"\x02\x05abcde", "message of 5 bytes"},
		"longer than all": {"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "message of"},
		"a close":         {"\x88\x00", "opcode 8"},
		"cut":             {"\x82\x04ab", "EOF"},
	} {
		err := readWSMessage(bufio.NewReader(strings.NewReader(tc.frames)), 4)
		if tc.err == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, tc.err, name)
		}
	}
	require.Equal(t, []byte("\x82\x81\x00\x00\x00\x00x"), wsMessage(1))
	require.True(t, bytes.HasPrefix(wsMessage(300), []byte("\x82\xfe\x01\x2c")))
	require.True(t, bytes.HasPrefix(wsMessage(70000), []byte("\x82\xff\x00\x00\x00\x00\x00\x01\x11\x70")))
}
