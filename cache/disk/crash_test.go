//go:build unix

package disk

import (
	"bufio"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
)

// TestDiskKilled kills a process that writes, again and again, and looks at
// what it has left. The first times it dies before each operation on the file
// system in turn, then at any moment.
func TestDiskKilled(t *testing.T) {
	times := 250
	if testing.Short() || raceDetector {
		times = 15
	}
	const families = 4
	for family := range families {
		t.Run(strconv.Itoa(family), func(t *testing.T) {
			t.Parallel()
			root := memoryDir(t)
			var done progress
			for i := range times {
				die := 0
				if i < times*2/5 {
					die = 1 + i*families + family
				}
				done = killChild(t, root, die, i, done)
				checkLeft(t, root, done)
				require.False(t, t.Failed(), "after kill %d", i)
			}
			require.Greater(t, done.replaced, times/2)
			require.Greater(t, done.updated, times/2)
		})
	}
}

// progress is what the child has reported as done.
type progress struct{ replaced, updated int }

// killChild runs a child until it dies.
func killChild(t *testing.T, root string, die, seed int, done progress) progress {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRoot+"="+root, childDie+"="+strconv.Itoa(die),
		childSeed+"="+strconv.Itoa(1+max(seed, done.replaced, done.updated)))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	after := 1 + rand.IntN(12)
	lines := bufio.NewScanner(out)
	for n := 1; lines.Scan(); n++ {
		what, number, _ := strings.Cut(lines.Text(), " ")
		v, err := strconv.Atoi(number)
		switch {
		case err != nil:
			t.Errorf("child: %s", lines.Text())
		case what == "replaced":
			done.replaced = v
		case what == "updated":
			done.updated = v
		}
		if die == 0 && n == after {
			cmd.Process.Kill()
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "child: %v", err)
	return done
}

// checkLeft opens the directory as the next process does.
func checkLeft(t *testing.T, root string, done progress) {
	ctx := context.Background()
	d := &Store{Root: root, Logger: testLogger(t)}
	defer d.Close()
	get := func(key string) []store.Entry {
		entries, err := d.Get(ctx, key)
		require.NoError(t, err)
		for _, e := range entries {
			requireWhole(t, e)
		}
		return entries
	}
	// One of the old and the new, never none, never both, never an older one.
	if entries := get(keyReplaced); done.replaced > 0 {
		require.Len(t, entries, 1)
		require.GreaterOrEqual(t, seedOf(entries[0].Meta()), done.replaced)
	}
	if entries := get(keyUpdated); done.updated > 0 {
		require.Len(t, entries, 1)
		n, err := strconv.Atoi(entries[0].Meta().Header.Get("X-Updated"))
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, done.updated)
	}
	get(keyRemoved)
	requireTidy(t, d)
}
