package filter

import (
	"errors"
	"io"
	"iter"
)

// pull makes a filter of what reads a body and writes to next.
func pull(next Writer, read func(io.Reader) error) Filter {
	p := &pulling{next: next, read: read}
	p.resume, p.stop = iter.Pull(p.run)
	return p
}

// pulling runs a reader beside those who write, in turns.
type pulling struct {
	next   Writer
	read   func(io.Reader) error
	have   []byte // written, and not yet read
	last   bool   // no more is written
	err    error  // of the reader, or of next
	resume func() (struct{}, bool)
	stop   func()
	pause  func(struct{}) bool
}

// run is the reader's side. It pauses when it needs more.
func (p *pulling) run(pause func(struct{}) bool) {
	p.pause = pause
	p.err = p.read(p)
}

var (
	errStopped = errors.New("filter: stopped")
	errBehind  = errors.New("filter: data behind the end")
)

// Read is for the reader alone.
func (p *pulling) Read(b []byte) (int, error) {
	for len(p.have) == 0 {
		if p.last {
			return 0, io.EOF
		}
		if !p.pause(struct{}{}) {
			return 0, errStopped
		}
	}
	n := copy(b, p.have)
	p.have = p.have[n:]
	return n, nil
}

func (p *pulling) Write(b []byte) (int, error) {
	p.have = b
	_, running := p.resume()
	p.have = nil
	switch {
	case p.err != nil:
		return 0, p.err
	case !running:
		return 0, errBehind
	}
	return len(b), nil
}

func (p *pulling) Flush() error { return p.next.Flush() }

// Close reads the end of what was written, unless there was an error.
func (p *pulling) Close() error {
	p.last = true
	if p.err == nil {
		p.resume()
	}
	p.stop()
	return p.err
}
