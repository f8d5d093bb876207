package logsink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// ProgramOptions are those of Program.
type ProgramOptions struct {
	// Dir is the folder the program runs in, and where a relative path to it begins.
	Dir string
	// Stdout and Stderr are the program's.
	Stdout, Stderr io.Writer
	// Lost is told how many more lines are lost.
	Lost func(lines int64)
	// Ended is told when the program has ended though it should not, and that it
	// will be started again.
	Ended func(err error)
}

// A program that ends is started again after firstPause, and after twice as long each
// time until lastPause, unless it has lived for livedLong.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 30 * time.Second
	livedLong  = 10 * time.Second
)

// endTime is how long a program may take to end once its input has.
const endTime = 3 * time.Second

// Program sends lines to the standard input of a program: "|program args", or
// "||program args", is run as it is, "|$command" by a shell, as httpd does. It is
// started with the first line. A command that cannot be run is an error.
func Program(command string, o ProgramOptions) (io.WriteCloser, error) {
	text := strings.TrimPrefix(command, "|")
	args := []string{"/bin/sh", "-c", strings.TrimPrefix(text, "$")}
	if !strings.HasPrefix(text, "$") {
		var err error
		if args, err = words(strings.TrimPrefix(text, "|")); err != nil {
			return nil, err
		}
	}
	if len(args) == 0 {
		return nil, errors.New("no program is named")
	}
	if strings.Contains(args[0], "/") && !filepath.IsAbs(args[0]) {
		args[0] = filepath.Join(o.Dir, args[0])
	}
	var err error
	if args[0], err = exec.LookPath(args[0]); err != nil {
		return nil, err
	}
	return newQueue(&program{args: args, o: o, stop: make(chan struct{}), ended: make(chan struct{})}, o.Lost), nil
}

// words cuts a command into words, which may stand in quotes; a backslash takes the
// meaning of what follows away.
func words(s string) (list []string, err error) {
	var b strings.Builder
	inWord, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
			inWord = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			b.WriteByte(c)
		case c == '"' || c == '\'':
			quote, inWord = c, true
		case c == ' ' || c == '\t':
			if inWord {
				list = append(list, b.String())
				b.Reset()
			}
			inWord = false
		default:
			b.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("quote is not closed in %q", s)
	}
	if inWord {
		list = append(list, b.String())
	}
	return list, nil
}

// program is a program and the pipe to its standard input. The pipe outlives each run
// of the program, so that the next one reads what the one before has not.
type program struct {
	args  []string
	o     ProgramOptions
	stop  chan struct{}
	ended chan struct{} // when it will not be started again

	mu          sync.Mutex // guards the rest
	read, write *os.File   // nil before the first line
	closed      bool
}

// Write is called by the queue alone.
func (p *program) Write(b []byte) (int, error) {
	w, err := p.input()
	if err != nil {
		return 0, err
	}
	return w.Write(b)
}

// input returns where the program's input goes, and starts it for the first line.
func (p *program) input() (w *os.File, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, os.ErrClosed
	}
	if p.write == nil {
		if p.read, p.write, err = os.Pipe(); err != nil {
			return nil, err
		}
		go p.run()
	}
	return p.write, nil
}

// run keeps the program running.
func (p *program) run() {
	defer close(p.ended)
	pause := firstPause
	for {
		began := time.Now()
		err := p.once()
		select {
		case <-p.stop:
			return
		default:
		}
		if time.Since(began) >= livedLong {
			pause = firstPause
		}
		if err == nil {
			err = errors.New("exit status 0")
		}
		p.o.Ended(err)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-p.stop:
			t.Stop()
			_ = p.once() // for what is left to read
			return
		}
		pause = min(2*pause, lastPause)
	}
}

// once runs the program until it ends, or is made to.
func (p *program) once() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = p.o.Dir, p.read, p.o.Stdout, p.o.Stderr
	cmd.WaitDelay = time.Second
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-done:
			return
		case <-p.stop:
		}
		t := time.NewTimer(endTime)
		defer t.Stop()
		select {
		case <-done:
		case <-t.C:
			cancel()
		}
	}()
	err := cmd.Wait()
	close(done)
	<-watched
	return err
}

// Close ends the input of the program, and waits for its end. What it has not read
// then is lost.
func (p *program) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.write == nil {
		return nil
	}
	close(p.stop) // first: a program that ends with its input has not failed
	err := p.write.Close()
	<-p.ended
	rest, _ := io.ReadAll(p.read)
	if n := bytes.Count(rest, []byte("\n")); n > 0 {
		p.o.Lost(int64(n))
	}
	return errors.Join(err, p.read.Close())
}
