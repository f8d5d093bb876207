package cache

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// mount makes a file system in memory. Only root can.
func mount(t *testing.T, options string) string {
	root := t.TempDir()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a tmpfs")
	}
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, options); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(root, syscall.MNT_DETACH)) })
	return root
}

func remountReadOnly(root string) error {
	return syscall.Mount("tmpfs", root, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
}
