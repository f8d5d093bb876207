package memory

import (
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/modproxy/modproxy/cache/store"
)

// Sizes of the chunks that bodies are kept in.
const (
	firstChunk = 4 << 10
	largeChunk = 1 << 20
)

// writer takes a body into chunks.
type writer struct {
	store    *Store
	expected int64 // length of the body; -1: not known
	reserved int64 // of the store's budget
	ended    bool  // committed or aborted
	room     int64 // in the last chunk

	mu     sync.Mutex // guards what readers see
	chunks [][]byte   // each filled up but for the last
	n      int64
}

func (w *writer) Write(p []byte) (written int, err error) {
	if w.ended {
		return 0, io.ErrClosedPipe
	}
	for len(p) > 0 {
		if w.room == 0 {
			if err := w.newChunk(); err != nil {
				return written, err
			}
		}
		last := w.chunks[len(w.chunks)-1]
		n := copy(last[int64(len(last))-w.room:], p) // nobody reads beyond w.n
		w.room -= int64(n)
		w.mu.Lock()
		w.n += int64(n)
		w.mu.Unlock()
		p, written = p[n:], written+n
	}
	return written, nil
}

// newChunk adds an empty chunk, paid for from the store's budget.
func (w *writer) newChunk() error {
	size := int64(firstChunk)
	switch {
	case w.expected > w.n:
		size = min(w.expected-w.n, largeChunk)
	case w.n > 0:
		size = min(w.n, largeChunk) // doubles what is there
	}
	if size = min(size, w.store.maxEntry()-w.n); size <= 0 {
		return store.ErrTooLarge
	}
	if err := w.store.reserve(size); err != nil {
		return err
	}
	w.reserved += size
	w.room = size
	w.mu.Lock()
	w.chunks = append(w.chunks, make([]byte, size))
	w.mu.Unlock()
	return nil
}

func (w *writer) Reader() (store.ReaderAtCloser, error) { return &reader{w: w}, nil }

func (w *writer) Commit(meta *store.Meta, old ...store.Entry) error {
	if w.ended {
		return io.ErrClosedPipe
	}
	w.ended = true
	e := newEntry(meta)
	e.hold(w.tight(), w.n)
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= w.reserved
	if e.cost > s.maxBytes() {
		return store.ErrTooLarge
	}
	e.used.Store(true) // whoever gives way, not this one
	s.insert(e, old)
	s.used += e.cost
	s.makeRoom(0)
	e.used.Store(false)
	return nil
}

// tight is the chunks without the room in the last one, which is copied if
// that saves memory.
func (w *writer) tight() [][]byte {
	if w.room == 0 {
		return w.chunks
	}
	chunks := slices.Clone(w.chunks)
	last := &chunks[len(chunks)-1]
	used := (*last)[:int64(len(*last))-w.room]
	if w.room > int64(len(used))/8 {
		used = append(make([]byte, 0, len(used)), used...)
	}
	*last = used
	return chunks
}

func (w *writer) Abort() {
	if w.ended {
		return
	}
	w.ended = true
	w.store.release(w.reserved)
}

// reader reads what a writer has taken so far.
type reader struct {
	w      *writer
	closed atomic.Bool
}

func (r *reader) ReadAt(p []byte, at int64) (int, error) {
	if r.closed.Load() {
		return 0, fs.ErrClosed
	}
	r.w.mu.Lock()
	chunks, n := r.w.chunks, r.w.n
	r.w.mu.Unlock()
	if at >= n {
		return 0, io.EOF
	}
	if int64(len(p)) > n-at {
		return copyAt(p[:n-at], chunks, at), io.EOF
	}
	return copyAt(p, chunks, at), nil
}

func (r *reader) Close() error {
	if r.closed.Swap(true) {
		return fs.ErrClosed
	}
	return nil
}
