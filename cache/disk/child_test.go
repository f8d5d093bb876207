package disk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/modproxy/modproxy/cache/store"
)

// What the child of TestDiskKilled is told.
const (
	childRoot = "MODPROXY_CACHE_DISK_ROOT"
	childDie  = "MODPROXY_CACHE_DISK_DIE" // before which operation; 0: it is killed
	childSeed = "MODPROXY_CACHE_DISK_SEED"
)

const (
	keyReplaced = "http://example.org/replaced"
	keyUpdated  = "http://example.org/updated"
	keyRemoved  = "http://example.org/removed"
)

// TestMain also is the process that TestDiskKilled kills.
func TestMain(m *testing.M) {
	if root := os.Getenv(childRoot); root != "" {
		diskChild(childT{}, root)
	}
	goleak.VerifyTestMain(m)
}

// childT is the test of a process that has none: it ends with the first failure,
// which it tells its parent.
type childT struct{ testing.TB }

func (childT) Helper() {}

func (childT) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func (childT) FailNow() { os.Exit(1) }

// diskChild changes what is in a directory until it is killed, and says what it
// has done.
func diskChild(t testing.TB, root string) {
	die, err := strconv.Atoi(os.Getenv(childDie))
	require.NoError(t, err)
	first, err := strconv.Atoi(os.Getenv(childSeed))
	require.NoError(t, err)
	self, err := os.FindProcess(os.Getpid())
	require.NoError(t, err)
	d := &Store{Root: root, Sync: first%16 == 0}
	ops := 0
	if die > 0 {
		d.hook = func(op, _ string) error {
			if op == "open" {
				return nil // it changes nothing, and there are many
			}
			if ops++; ops == die {
				require.NoError(t, self.Kill())
			}
			return nil
		}
	}
	// The scan must not die, or the first operations are always those.
	require.NoError(t, d.Walk(context.Background(), func(store.Entry) bool { return false }))
	ops = 0
	random := rand.New(rand.NewPCG(uint64(first), 1))
	for n := first; ; n++ {
		size := []int{0, 100, 5000, 300_000}[random.IntN(4)]
		storeSeed(t, d, keyReplaced, n, size, diskGet(t, d, keyReplaced)...)
		fmt.Println("replaced", n)

		entries := diskGet(t, d, keyUpdated)
		if len(entries) == 0 {
			storeSeed(t, d, keyUpdated, n, size)
			entries = diskGet(t, d, keyUpdated)
		}
		meta := entries[0].Meta().Clone()
		meta.Header.Set("X-Updated", strconv.Itoa(n))
		require.NoError(t, d.Update(context.Background(), entries[0], meta))
		fmt.Println("updated", n)

		switch entries := diskGet(t, d, keyRemoved); {
		case len(entries) > 3:
			for _, e := range entries {
				require.NoError(t, d.Remove(context.Background(), e))
			}
		case len(entries) == 3:
			storeSeed(t, d, keyRemoved, n, size, entries[1:]...)
		default:
			storeSeed(t, d, keyRemoved, n, size)
		}
		if n%5 == 0 {
			w, err := d.Create(context.Background(), seedMeta(keyRemoved, n, 10))
			require.NoError(t, err)
			w.Write(seedBody(n, 10))
			w.Abort()
		}
	}
}
