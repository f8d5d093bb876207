//go:build unix

package logsink

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// stalled is a reader that reads nothing until it is closed.
type stalled struct {
	once   sync.Once
	closed chan struct{}
}

func (s *stalled) Write(p []byte) (int, error) {
	<-s.closed
	return 0, io.ErrClosedPipe
}

func (s *stalled) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// TestQueueNeverWaits: who writes to a reader that stalls does not wait; what is lost
// is counted, told at once and then now and then, and Close ends in time.
func TestQueueNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []int64
		var total atomic.Int64
		q := newQueue(&stalled{closed: make(chan struct{})}, func(n int64) { told = append(told, n); total.Add(n) })
		line := []byte(strings.Repeat("x", 1<<20-1) + "\n")
		_, _ = q.Write([]byte("first\n"))
		synctest.Wait() // it hangs with the first
		began := time.Now()
		for range 10 {
			n, err := q.Write(line)
			require.NoError(t, err)
			require.Equal(t, len(line), n)
		}
		require.Equal(t, began, time.Now())
		require.Equal(t, []int64{1}, told, "4 have room, and the next one is told at once")
		time.Sleep(tellTime)
		_, _ = q.Write(line)
		require.Equal(t, []int64{1, 6}, told)
		began = time.Now()
		require.NoError(t, q.Close())
		require.Equal(t, drainTime, time.Since(began))
		require.EqualValues(t, 12, total.Load(), "all are told in the end")
		_, _ = q.Write(line)
		require.NoError(t, q.Close())
	})
}

// collected is what was written.
type collected struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *collected) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.Write(p)
}

func (c *collected) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}

func (c *collected) Close() error { return nil }

// TestQueueWritesAll: lines come in order, and Close waits for the last of them.
func TestQueueWritesAll(t *testing.T) {
	var out collected
	q := newQueue(&out, func(int64) { t.Error("lost") })
	var want strings.Builder
	for n := range 10_000 {
		fmt.Fprintln(q, n)
		fmt.Fprintln(&want, n)
	}
	require.NoError(t, q.Close())
	require.Equal(t, want.String(), out.String())
}

func nothingLost(t *testing.T) func(int64) {
	return func(n int64) { t.Errorf("%d lines are lost", n) }
}

// TestFile: FIFOs and devices hold nobody up, whether somebody reads or not.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	log, err := File(at("log"), nothingLost(t))
	require.NoError(t, err)
	fmt.Fprintln(log, "one")
	require.NoError(t, log.Close())
	log, err = File(at("log"), nothingLost(t))
	require.NoError(t, err)
	fmt.Fprintln(log, "two")
	require.NoError(t, os.Rename(at("log"), at("log.1")))
	fmt.Fprintln(log, "three")
	require.NoError(t, os.Truncate(at("log.1"), 0)) // as logrotate does with copytruncate
	fmt.Fprintln(log, "four")
	require.NoError(t, log.Close())
	text, err := os.ReadFile(at("log.1"))
	require.NoError(t, err)
	require.Equal(t, "four\n", string(text))

	for _, name := range []string{dir, at("none/log")} {
		_, err = File(name, nothingLost(t))
		require.ErrorContains(t, err, name)
	}
	log, err = File(os.DevNull, nothingLost(t))
	require.NoError(t, err)
	fmt.Fprintln(log, "x")
	require.NoError(t, log.Close())
	var lost atomic.Int64
	log, err = File("/dev/full", func(n int64) { lost.Add(n) })
	require.NoError(t, err)
	fmt.Fprintln(log, "x")
	require.NoError(t, log.Close())
	require.EqualValues(t, 1, lost.Load())

	require.NoError(t, syscall.Mkfifo(at("fifo"), 0o600))
	lost.Store(0)
	fifo, err := File(at("fifo"), func(n int64) { lost.Add(n) })
	require.NoError(t, err)
	fmt.Fprintln(fifo, "before there is a reader")
	for range 2 { // one that goes, and another
		reader, err := os.Open(at("fifo"))
		require.NoError(t, err)
		fmt.Fprintln(fifo, "there is")
		b := make([]byte, 1000)
		n := 0
		for !strings.Contains(string(b[:n]), "there is\n") {
			got, err := reader.Read(b[n:])
			require.NoError(t, err)
			n += got
		}
		require.NoError(t, reader.Close())
	}
	line := strings.Repeat("x", 1<<16-1)
	for range 100 {
		fmt.Fprintln(fifo, line)
	}
	require.NoError(t, fifo.Close())
	require.Greater(t, lost.Load(), int64(90), "nobody reads any more")
}

// TestProgram: a program reads all lines, those too that came while it was not there,
// is started again when it ends, and ends with its input.
func TestProgram(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "a b"), 0o700))
	out := func() string {
		b, _ := os.ReadFile(filepath.Join(dir, "a b", "out"))
		return string(b)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a b", "own"), []byte("#!/bin/sh\ncat >>a\\ b/out\n"), 0o700))
	for _, command := range []string{`|$cat >>"a b/out"`, `|tee -a 'a b/out'`, `||tee -a a\ b/out`, `|"a b/own"`} {
		t.Run(command, func(t *testing.T) {
			ended := make(chan error, 10)
			log, err := Program(command, ProgramOptions{Dir: dir, Stdout: io.Discard, Stderr: io.Discard, Lost: nothingLost(t), Ended: func(err error) { ended <- err }})
			require.NoError(t, err)
			fmt.Fprintln(log, "x")
			require.NoError(t, log.Close())
			require.Empty(t, ended)
			require.True(t, strings.HasSuffix(out(), "x\n"), out())
		})
	}
	require.Equal(t, "x\nx\nx\nx\n", out())

	var ended atomic.Int64
	log, err := Program(`|$read line; echo $line >>out`, ProgramOptions{Dir: dir, Lost: nothingLost(t), Ended: func(error) { ended.Add(1) }})
	require.NoError(t, err)
	for n := range 4 {
		fmt.Fprintln(log, n)
	}
	require.Eventually(t, func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "out"))
		return string(b) == "0\n1\n2\n3\n"
	}, 30*time.Second, time.Millisecond)
	require.NoError(t, log.Close())
	require.GreaterOrEqual(t, ended.Load(), int64(3))
}

// TestProgramThatStalls: neither does a program that does not read hold up who writes,
// nor one that does not end the end.
func TestProgramThatStalls(t *testing.T) {
	var lost atomic.Int64
	var out collected // whose pipe a child of the program keeps open
	log, err := Program(`|$trap "" TERM; sleep 1000 & sleep 1000`, ProgramOptions{Stdout: &out, Stderr: &out, Lost: func(n int64) { lost.Add(n) }, Ended: func(error) {}})
	require.NoError(t, err)
	line := strings.Repeat("x", 1<<20-1)
	began := time.Now()
	for range 20 {
		fmt.Fprintln(log, line)
	}
	require.Less(t, time.Since(began), 5*time.Second)
	require.NoError(t, log.Close())
	require.Less(t, time.Since(began), 30*time.Second)
	require.GreaterOrEqual(t, lost.Load(), int64(11))
}

// TestProgramThatEnds: what a program has left unread when it ends is lost, and told.
func TestProgramThatEnds(t *testing.T) {
	var lost, ended atomic.Int64
	log, err := Program(`|$read line`, ProgramOptions{Lost: func(n int64) { lost.Add(n) }, Ended: func(error) { ended.Add(1) }})
	require.NoError(t, err)
	for n := range 100 {
		fmt.Fprintln(log, n)
	}
	require.Eventually(t, func() bool { return ended.Load() > 0 }, 20*time.Second, time.Millisecond)
	require.NoError(t, log.Close())
	require.Greater(t, lost.Load(), int64(80))
	require.Less(t, lost.Load(), int64(100))
}

func TestProgramErrors(t *testing.T) {
	for command, want := range map[string]string{
		"|/no/such/program x": "/no/such/program", "|cat >x 'y": "quote is not closed", "|": "no program", "|| ": "no program", "|no-such-program-anywhere": "not found",
	} {
		_, err := Program(command, ProgramOptions{})
		require.ErrorContains(t, err, want, command)
	}
	log, err := Program("|cat", ProgramOptions{Lost: nothingLost(t)})
	require.NoError(t, err)
	require.NoError(t, log.Close(), "it was not started")
}

// TestSyslog has the facility, the severity of each line, and the tag.
func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	defer l.Close()
	q, err := Syslog("syslog:local1:web", nothingLost(t))
	require.NoError(t, err)
	q.(*queue).out.(*system).paths = []string{path + ".none", path}
	for level, pri := range map[string]string{"level=ERROR msg=x": "<139>", "level=WARN": "<140>", "level=INFO": "<142>", "level=DEBUG": "<143>", "level=TRACE1": "<143>", "plain": "<141>"} {
		fmt.Fprintln(q, level)
		b := make([]byte, 1000)
		n, err := l.Read(b)
		require.NoError(t, err)
		require.Regexp(t, fmt.Sprintf(`^%s... .. ..:..:.. web\[%d\]: %s\n$`, pri, os.Getpid(), level), string(b[:n]))
	}
	require.NoError(t, q.Close())

	var lost atomic.Int64
	q, err = Syslog("syslog", func(n int64) { lost.Add(n) })
	require.NoError(t, err)
	q.(*queue).out.(*system).paths = []string{path + ".none"}
	fmt.Fprintln(q, "x")
	require.NoError(t, q.Close())
	require.EqualValues(t, 1, lost.Load())

	_, err = Syslog("syslog:local9", nil)
	require.ErrorContains(t, err, "local9")
	for _, target := range []string{"syslog::tag", "syslog:DAEMON", "syslog:"} {
		q, err := Syslog(target, nothingLost(t))
		require.NoError(t, err, target)
		require.NoError(t, q.Close())
	}
}

// TestProgramEndsOnce: a program that ends because its input has is not taken for one
// that has failed, however fast it is.
func TestProgramEndsOnce(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		w, err := Program("|$echo began >>runs; cat >/dev/null", ProgramOptions{Dir: dir, Stdout: io.Discard, Stderr: io.Discard, Lost: func(int64) {}, Ended: func(err error) { t.Error(err) }})
		require.NoError(t, err)
		_, err = io.WriteString(w, "line\n")
		require.NoError(t, err)
		require.NoError(t, w.Close())
		b, err := os.ReadFile(filepath.Join(dir, "runs"))
		require.NoError(t, err)
		require.Equal(t, "began\n", string(b))
	}
}
