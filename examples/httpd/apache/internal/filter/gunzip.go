package filter

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"iter"
)

// Gunzip unpacks a body, as httpd's INFLATE. What is not packed by gzip, or is cut,
// is an error of Write or Close.
func Gunzip(next Writer) Filter {
	u := &unpacking{next: next}
	u.resume, u.stop = iter.Pull(u.unpack)
	return u
}

// unpacking runs the reader of gzip beside those who write, in turns.
type unpacking struct {
	next   Writer
	have   []byte // written, and not yet read
	last   bool   // no more is written
	err    error  // of the reader, or of next
	resume func() (struct{}, bool)
	stop   func()
	pause  func(struct{}) bool
}

// unpack is the reader's side. It pauses when it needs more.
func (u *unpacking) unpack(pause func(struct{}) bool) {
	u.pause = pause
	in := bufio.NewReader(u)
	if _, err := in.Peek(1); err == io.EOF {
		return // an empty body is empty either way
	}
	z, err := gzip.NewReader(in)
	if err == nil {
		_, err = io.Copy(struct{ io.Writer }{u.next}, z) // by Write, whatever else the next one can
	}
	u.err = err
}

var errStopped = errors.New("filter: stopped")

// Read is for the reader of gzip alone.
func (u *unpacking) Read(b []byte) (int, error) {
	for len(u.have) == 0 {
		if u.last {
			return 0, io.EOF
		}
		if !u.pause(struct{}{}) {
			return 0, errStopped
		}
	}
	n := copy(b, u.have)
	u.have = u.have[n:]
	return n, nil
}

func (u *unpacking) Write(b []byte) (int, error) {
	u.have = b
	_, running := u.resume()
	u.have = nil
	switch {
	case u.err != nil:
		return 0, u.err
	case !running:
		return 0, errors.New("filter: data behind the end of gzip")
	}
	return len(b), nil
}

func (u *unpacking) Flush() error { return u.next.Flush() }

// Close reads the end of what was written, unless there was an error.
func (u *unpacking) Close() error {
	u.last = true
	if u.err == nil {
		u.resume()
	}
	u.stop()
	return u.err
}
