package cache

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"sync"
	"time"

	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// errAbandoned ends a fetch that nobody wants any more.
var errAbandoned = errors.New("cache: nobody wants the answer any more")

// errTooSlow ends the body of a reader that has held others up for too long.
var errTooSlow = errors.New("cache: too slow for an answer that is not stored")

// stream is the body of an answer while it is fetched: one goroutine writes,
// many read. What is written goes to the store, and readers get it from there.
//
//	origin ─► Write ─► store's Writer ─► readers, each at its own pace
//	             └───► window ─────────► readers, none far behind the others
//
// When the store fails, or the body turns out too large for it, the rest goes
// through the window: nobody else may join, and nothing is kept. Whoever reads
// already is served to the end, if he does not hold up the others.
type stream struct {
	maxSize  int64  // that is stored; 0: no limit
	expected int64  // length; -1: not known
	onWhole  func() // called with the last byte of an expected length, before any reader gets that
	readSize int64
	readTime time.Duration
	writer   store.Writer
	stored   store.ReaderAtCloser
	onFail   func(error) // of the store

	mu      sync.Mutex // guards what follows
	changed sync.Cond
	n       int64  // bytes in the store
	window  []byte // those after them
	base    int64  // offset of window
	failed  bool   // the store is given up
	done    bool
	err     error // how it ended, if not well
	trailer http.Header
	readers map[*streamReader]struct{}
	reading int // those that read from the store at this moment
}

// windowSize is how far the origin may be ahead of the slowest reader where
// nothing is stored.
const windowSize = 256 << 10

// patience is how long a reader may hold others up, in all, before it has caught
// up with them once.
const patience = time.Second

func newStream(w store.Writer, expected, maxSize int64) (*stream, error) {
	stored, err := w.Reader()
	if err != nil {
		return nil, err
	}
	s := &stream{maxSize: maxSize, expected: expected, writer: w, stored: stored, readers: make(map[*streamReader]struct{})}
	s.changed.L = &s.mu
	return s, nil
}

// Write takes the next bytes of the body.
func (s *stream) Write(p []byte) (n int, err error) {
	if !s.failed { // changed by this goroutine alone
		if s.maxSize > 0 && s.n+int64(len(p)) > s.maxSize {
			err = store.ErrTooLarge
		} else {
			n, err = s.writer.Write(p)
		}
		if err == nil && s.n+int64(n) == s.expected {
			s.onWhole()
		}
		s.mu.Lock()
		s.n += int64(n)
		if err != nil {
			s.failed, s.base = true, s.n
		}
		s.changed.Broadcast()
		s.mu.Unlock()
		if err == nil {
			return n, nil
		}
		s.onFail(err)
	}
	m, err := s.pass(p[n:])
	return n + m, err
}

// pass sends bytes through the window.
func (s *stream) pass(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(p) > 0 {
		s.trim()
		switch room := windowSize - len(s.window); {
		case s.err != nil:
			return n, s.err
		case len(s.readers) == 0:
			return n, errAbandoned
		case room <= 0:
			s.makeRoom()
		default:
			room = min(room, len(p))
			s.window = append(s.window, p[:room]...)
			p, n = p[room:], n+room
			s.changed.Broadcast()
		}
	}
	return n, nil
}

// trim drops what all have read of the window; s.mu is held.
func (s *stream) trim() {
	least := s.base + int64(len(s.window))
	for r := range s.readers {
		if r.behind(least) {
			least = r.at
		}
	}
	if k := least - s.base; k > 0 {
		s.window = append(s.window[:0], s.window[k:]...)
		s.base = least
	}
}

// makeRoom waits until the slowest reader has read on; s.mu is held. If others
// wait for more meanwhile, the slow ones are let go in the end.
func (s *stream) makeRoom() {
	begun, left, waiting := time.Now(), patience, false
	slow := s.base + windowSize/2 // whoever is not so far holds the others up
	for r := range s.readers {
		switch {
		case r.waiting && !r.ready():
			waiting = true
		case r.behind(slow):
			left = min(left, patience-r.held)
		}
	}
	if waiting {
		t := time.AfterFunc(left, s.wake)
		defer t.Stop()
	}
	s.changed.Wait()
	if !waiting {
		return
	}
	passed := time.Since(begun)
	for r := range s.readers {
		if !r.behind(slow) {
			continue
		}
		if r.held += passed; r.held >= patience {
			r.letGo = true
			delete(s.readers, r)
		}
	}
}

// finish ends the body; err says that it is not whole.
func (s *stream) finish(err error, trailer http.Header) {
	s.mu.Lock()
	s.done, s.err, s.trailer = true, err, trailer
	s.changed.Broadcast()
	s.closeIfIdle()
	s.mu.Unlock()
}

// closeIfIdle closes the store's reader when nobody needs it; s.mu is held.
func (s *stream) closeIfIdle() {
	if s.done && len(s.readers) == 0 && s.reading == 0 && s.stored != nil {
		_ = s.stored.Close()
		s.stored = nil
	}
}

// length is what has been written so far.
func (s *stream) length() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.n, s.base+int64(len(s.window)))
}

// whole reports whether all of the body is in the store, nothing else.
func (s *stream) whole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.failed
}

// complete reports whether the body has ended as it should, and is in the store.
func (s *stream) complete() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done && s.err == nil && !s.failed
}

// streamReader reads a part of a stream, for one client.
type streamReader struct {
	s     *stream
	ctx   context.Context
	stop  func() bool
	at    int64
	end   int64  // -1: to the end
	pause func() // called before it waits; may be nil

	// Guarded by s.mu, as are at and end where the goroutine that reads changes
	// them:
	closed  bool          // by another goroutine, perhaps, while it waits
	waiting bool          // for the origin
	held    time.Duration // how long others have waited for it
	letGo   bool
}

// seek makes it read the part from start to end.
func (r *streamReader) seek(start, end int64) {
	r.s.mu.Lock()
	r.at, r.end = start, end
	r.s.mu.Unlock()
}

// behind reports whether what comes before an offset is still to be read.
func (r *streamReader) behind(offset int64) bool {
	return r.at < offset && (r.end < 0 || r.at < r.end)
}

// reader returns a reader of the body; nil if it is too late to begin.
func (s *stream) reader(ctx context.Context) *streamReader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed || s.stored == nil || s.err != nil {
		return nil
	}
	r := &streamReader{s: s, ctx: ctx, end: -1}
	s.readers[r] = struct{}{}
	r.stop = context.AfterFunc(ctx, s.wake)
	return r
}

// trailers are the trailer fields, once the body has ended.
func (s *stream) trailers() http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trailer
}

func (s *stream) wake() {
	s.mu.Lock()
	s.changed.Broadcast()
	s.mu.Unlock()
}

// Read reads what is there, or waits for it.
func (r *streamReader) Read(p []byte) (int, error) {
	s := r.s
	if r.end >= 0 {
		if r.at >= r.end {
			return 0, io.EOF
		}
		p = p[:min(int64(len(p)), r.end-r.at)]
	}
	if len(p) == 0 {
		return 0, nil
	}
	s.mu.Lock()
	if !r.ready() {
		if r.pause != nil {
			s.mu.Unlock()
			r.pause()
			s.mu.Lock()
		}
		r.wait()
	}
	n, err := 0, error(nil)
	switch {
	case r.closed:
		err = fs.ErrClosed
	case r.letGo:
		err = errTooSlow
	case r.at < s.n:
		p = p[:min(int64(len(p)), s.n-r.at)]
		stored := s.stored
		s.reading++
		s.mu.Unlock()
		if n, err = stored.ReadAt(p, r.at); n > 0 {
			err = nil
		} else if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF // the store has lost something
		}
		s.mu.Lock()
		s.reading--
		s.closeIfIdle()
		r.at += int64(n)
	case r.at < s.base:
		err = errTooSlow // that went by
	case r.at < s.base+int64(len(s.window)):
		n = copy(p, s.window[r.at-s.base:])
		r.at += int64(n)
		s.changed.Broadcast()
	case s.err != nil:
		err = s.err
	case s.done:
		err = io.EOF
	default:
		err = exchange.EndError(r.ctx, &exchange.Error{Op: exchange.OpBody}, false, nil)
	}
	s.mu.Unlock()
	return n, err
}

// ready reports whether there is something to read; s.mu is held.
func (r *streamReader) ready() bool {
	return r.s.done || r.at < max(r.s.n, r.s.base+int64(len(r.s.window)))
}

// wait waits until it is ready, or the client has left; s.mu is held.
func (r *streamReader) wait() {
	s := r.s
	r.waiting, r.held = true, 0
	defer func() { r.waiting = false }()
	if s.failed {
		s.changed.Broadcast() // whoever is slow holds this one up
	}
	var begun time.Time
	if s.readSize > 0 || s.readTime > 0 {
		begun = time.Now()
		if s.readTime > 0 {
			t := time.AfterFunc(s.readTime, s.wake)
			defer t.Stop()
		}
	}
	for !r.closed && r.ctx.Err() == nil && !(r.ready() && (s.done || s.failed || r.enough(begun))) {
		s.changed.Wait()
	}
}

// enough is the rule of ReadSize and ReadTime.
func (r *streamReader) enough(begun time.Time) bool {
	s := r.s
	if begun.IsZero() {
		return true
	}
	return s.readSize > 0 && s.n-r.at >= s.readSize || s.readTime > 0 && time.Since(begun) >= s.readTime
}

// Close gives the reader up.
func (r *streamReader) Close() error {
	s := r.s
	s.mu.Lock()
	r.closed = true
	delete(s.readers, r)
	s.changed.Broadcast()
	s.closeIfIdle()
	s.mu.Unlock()
	r.stop()
	return nil
}
