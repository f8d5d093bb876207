package disk

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// mount makes a file system in memory. Only root can.
func mount(t *testing.T, options string) string {
	root := t.TempDir()
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, options); err != nil {
		programs.Cannot(t, "cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(root, syscall.MNT_DETACH)) })
	return root
}

func remountReadOnly(root string) error {
	return syscall.Mount("tmpfs", root, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
}
