package cache

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// memoryDir is a directory in memory where there is such, for tests that do
// much to few files.
func memoryDir(t testing.TB) string {
	root, err := os.MkdirTemp("/dev/shm", "modproxy")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(root)) })
	return root
}
