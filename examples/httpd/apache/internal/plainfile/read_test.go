//go:build unix

package plainfile

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRead: what is no file of bearable size is an error, and none of it waits.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(at("file"), []byte("12345678"), 0o600))
	require.NoError(t, os.WriteFile(at("large"), nil, 0o600))
	require.NoError(t, os.Truncate(at("large"), 1<<30))
	require.NoError(t, syscall.Mkfifo(at("fifo"), 0o600))
	require.NoError(t, os.Symlink("fifo", at("link")))
	socket, err := net.Listen("unix", at("socket"))
	require.NoError(t, err)
	defer socket.Close()
	for name, want := range map[string]error{
		at("file"): nil, os.DevNull: nil, at("large"): ErrTooLarge, at("fifo"): ErrNotRegular, at("link"): ErrNotRegular,
		at("socket"): ErrNotRegular, dir: ErrNotRegular, "/dev/zero": ErrNotRegular, at("none"): fs.ErrNotExist,
	} {
		b, err := Read(name, 8)
		if want != nil {
			require.ErrorIs(t, err, want, name)
			require.ErrorContains(t, err, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, name == at("file"), string(b) == "12345678", name)
	}
	_, err = Read(at("file"), 7)
	require.ErrorIs(t, err, ErrTooLarge)
}

// TestReadWhatGrows: a file whose size says little, as those of /proc, has a bound.
func TestReadWhatGrows(t *testing.T) {
	_, err := Read("/proc/self/status", 10)
	require.ErrorIs(t, err, ErrTooLarge)
}
