package apache

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/logsink"
)

// logFiles are the logs that are open; those with one name are shared.
type logFiles struct {
	root           string
	stdout, stderr io.Writer    // the program's
	told           *slog.Logger // of lines that are lost; nil for nobody
	ending         *ending      // of programs; nil to wait for them

	mu   sync.Mutex // guards open
	open map[string]io.WriteCloser
}

// writer opens a log for appending: a file, "|program", or "syslog".
func (l *logFiles) writer(name string) (io.Writer, error) {
	switch name {
	case "", "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2":
		return l.stderr, nil
	case "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1":
		return l.stdout, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.open[name]; w != nil {
		return w, nil
	}
	w, err := l.opened(name)
	if err != nil {
		return nil, err
	}
	if l.open == nil {
		l.open = make(map[string]io.WriteCloser)
	}
	l.open[name] = w
	return w, nil
}

func (l *logFiles) opened(name string) (io.WriteCloser, error) {
	told := l.told
	if told == nil {
		told = slog.New(slog.DiscardHandler)
	}
	lost := func(lines int64) {
		told.Warn("lines of a log are lost: who reads it is too slow, or gone", "log", name, "lines", lines)
	}
	switch {
	case strings.HasPrefix(name, "|"):
		return logsink.Program(name, logsink.ProgramOptions{Dir: l.root, Stdout: l.stdout, Stderr: l.stderr, Lost: lost, Ended: func(err error) {
			told.Error("the program of a log has ended and is started again", "log", name, "error", err)
		}})
	case isSyslog(name):
		return logsink.Syslog(name, lost)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(l.root, name)
	}
	return logsink.File(name, lost)
}

func isSyslog(name string) bool { return name == "syslog" || strings.HasPrefix(name, "syslog:") }

// close closes the logs. Programs take their time to end, and requests do not wait
// for them.
func (l *logFiles) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := l.open
	l.open = nil
	var errs []error
	var slow []io.Closer
	for name, w := range open {
		if strings.HasPrefix(name, "|") {
			slow = append(slow, w)
		} else {
			errs = append(errs, w.Close())
		}
	}
	e := l.ending
	if e == nil {
		e = new(ending)
		defer e.wait()
	}
	for _, w := range slow {
		e.start(func() { _ = w.Close() })
	}
	return errors.Join(errs...)
}

// ending is what goes on until it ends by itself. Unlike a sync.WaitGroup it may be
// added to while somebody waits.
type ending struct {
	mu   sync.Mutex // guards open
	open map[chan struct{}]bool
}

func (e *ending) start(do func()) {
	done := make(chan struct{})
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open == nil {
		e.open = make(map[chan struct{}]bool)
	}
	e.open[done] = true
	go func() {
		do()
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.open, done)
		close(done)
	}()
}

// wait waits for what has begun.
func (e *ending) wait() {
	e.mu.Lock()
	open := slices.Collect(maps.Keys(e.open))
	e.mu.Unlock()
	for _, done := range open {
		<-done
	}
}
