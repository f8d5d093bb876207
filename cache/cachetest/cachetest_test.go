package cachetest_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/modproxy/modproxy/cache/cachetest"
	"github.com/modproxy/modproxy/cache/disk"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/cache/tiered"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rounds spares time in -short.
func rounds() int {
	if testing.Short() || raceDetector {
		return 50
	}
	return 300
}

func TestMemory(t *testing.T) {
	require.NoError(t, cachetest.TestStore(func() (store.Store, error) {
		return &memory.Store{MaxBytes: 256 << 20}, nil
	}, cachetest.Claims{Rounds: 3 * rounds()}))
}

func TestTiered(t *testing.T) {
	for name, make := range map[string]func() *tiered.Store{
		"memory before memory": func() *tiered.Store {
			return &tiered.Store{Front: &memory.Store{MaxBytes: 64 << 20}, Back: &memory.Store{MaxBytes: 256 << 20}}
		},
		"a small front": func() *tiered.Store {
			return &tiered.Store{Front: &memory.Store{MaxBytes: 64 << 10}, Back: &memory.Store{MaxBytes: 256 << 20}, MaxFront: 8 << 10}
		},
		"memory before disk": func() *tiered.Store {
			disk := &disk.Store{Root: t.TempDir()}
			t.Cleanup(func() { _ = disk.Close() })
			return &tiered.Store{Front: &memory.Store{MaxBytes: 1 << 20}, Back: disk}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := rounds()
			if name == "memory before disk" {
				n /= 5
			}
			require.NoError(t, cachetest.TestStore(func() (store.Store, error) { return make(), nil }, cachetest.Claims{Rounds: n}))
		})
	}
}

func TestDisk(t *testing.T) {
	for name, settings := range map[string]*disk.Store{
		"defaults":        {},
		"nothing hot":     {OpenFiles: -1, MetadataBytes: -1},
		"one directory":   {DirLevels: -1},
		"many levels":     {DirLevels: 6, DirLength: 3},
		"written through": {Sync: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := rounds()
			if name != "defaults" {
				n /= 5
			}
			open := func(root string) *disk.Store {
				return &disk.Store{
					Root: root, OpenFiles: settings.OpenFiles, MetadataBytes: settings.MetadataBytes,
					DirLevels: settings.DirLevels, DirLength: settings.DirLength, Sync: settings.Sync,
				}
			}
			require.NoError(t, cachetest.TestStore(func() (store.Store, error) {
				return open(t.TempDir()), nil
			}, cachetest.Claims{
				Rounds: n,
				Reopen: func(s store.Store) (store.Store, error) { return open(s.(*disk.Store).Root), nil },
			}))
		})
	}
}
