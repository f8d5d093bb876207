package buffer

import (
	"errors"
	"fmt"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/copybuf"
	"github.com/modproxy/modproxy/proxy/internal/tempfile"
)

// patience is how long, over the whole of an answer, the backend waits for a
// client to make room in memory before a file is begun: a quick one needs none.
const patience = 20 * time.Millisecond

// readier is a body that knows whether a Read would wait, as that of an
// [exchange.ResponseBody] does.
type readier interface{ Ready() bool }

// start begins to take the answer. A short one that has come wholly needs no
// goroutine.
func (b *body) start() {
	b.ready, _ = b.src.(readier)
	if n := b.resp.ContentLength; b.ready != nil && n > 0 && n <= min(b.memory, copybuf.Size) {
		for b.ready.Ready() {
			if !b.step() {
				b.stop()
				return
			}
		}
	}
	go func() {
		for b.pause(); b.step(); b.pause() {
		}
		b.stop()
	}()
}

// pause tells the reader if the backend has paused, so that it may flush.
func (b *body) pause() {
	if b.ready != nil && b.ready.Ready() {
		return
	}
	b.mu.Lock()
	b.paused = true
	b.mu.Unlock()
	signal(b.more)
}

// step reads once from the backend, and reports whether there may be more.
func (b *body) step() bool {
	p, into := b.room()
	if p == nil {
		return false
	}
	n, err := b.read(p)
	if into == nil && n > 0 {
		b.keep(p[:n])
	}
	b.mu.Lock()
	if into != nil {
		into.to += n
		b.q.inMemory += int64(n)
	}
	b.paused = false
	if err != nil {
		b.err = err
	}
	on := err == nil && !b.closed
	b.mu.Unlock()
	signal(b.more)
	return on
}

// read reads from the backend. A body of another library's that panics must not
// end the process.
func (b *body) read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, fmt.Errorf("body panicked: %v", v)
		}
	}()
	n, err = b.src.Read(p)
	if n < 0 || n > len(p) {
		return 0, errInvalidRead
	}
	return n, err
}

var errInvalidRead = errors.New("body has read more than it was asked for")

// room waits until more may be kept, and returns where that is to be read into:
// a part of a piece, or, if that is nil, what is to go to the file. It returns
// nothing when nobody wants more.
func (b *body) room() ([]byte, *piece) {
	for {
		p, into, wait := b.place()
		if wait == 0 {
			return p, into
		}
		if !b.wait(wait) {
			return nil, nil
		}
	}
}

// forever is the wait for a client.
const forever = time.Duration(-1)

// place is room, or how long to wait for it.
func (b *body) place() ([]byte, *piece, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := &b.q
	memory, left := b.memory, b.most-q.held()
	if q.broken {
		memory = max(memory, min(copybuf.Size, b.most))
	}
	switch {
	case b.closed:
		return nil, nil, 0
	case left <= 0 || q.late != nil:
		return nil, nil, forever
	case q.inFile() == 0 && q.inMemory < memory:
		into := q.tail()
		p := into.data[into.to:]
		return p[:min(int64(len(p)), memory-q.inMemory, left)], into, 0
	case q.broken:
		return nil, nil, forever
	case q.inFile() == 0 && b.memory > 0 && b.patience > 0:
		return nil, nil, b.patience
	}
	if q.inFile() == 0 {
		q.from, q.to = 0, 0
	}
	if b.spill == nil {
		b.spill = newPiece()
	}
	return b.spill.data[:min(copybuf.Size, left)], nil, 0
}

// wait waits for the client, and reports whether somebody still wants more.
func (b *body) wait(limit time.Duration) bool {
	var over <-chan time.Time
	if limit > 0 {
		if b.timer == nil {
			b.timer = time.NewTimer(limit)
		} else {
			b.timer.Reset(limit)
		}
		defer b.timer.Stop()
		over = b.timer.C
		begun := time.Now()
		defer func() { b.patience -= time.Since(begun) }()
	}
	select {
	case <-b.less:
	case <-over:
	case <-b.ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		b.err = exchange.EndError(b.ctx, &exchange.Error{Op: exchange.OpBody, Backend: b.backend()}, true, nil)
		return false
	}
	return true
}

// keep writes data, which is in b.spill, to the file. If that cannot be done, it
// stays in memory.
func (b *body) keep(data []byte) {
	err := b.write(data)
	if err != nil || b.t.broken.Load() {
		b.t.noteFile(b, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.q.to += int64(len(data))
		return
	}
	b.q.broken, b.q.late, b.spill.to = true, b.spill, len(data)
	b.spill = nil
}

func (b *body) write(data []byte) error {
	if b.q.file == nil {
		f, err := tempfile.Create(b.t.Dir)
		if err != nil {
			return err
		}
		b.mu.Lock()
		b.q.file = f
		b.mu.Unlock()
	}
	return b.q.write(data)
}

// stop is the end of start. An answer that has ended is closed here, any other by
// Close.
func (b *body) stop() {
	if b.spill != nil {
		b.spill.free()
		b.spill = nil
	}
	b.mu.Lock()
	ended := b.err != nil
	b.mu.Unlock()
	if ended {
		signal(b.more)
		func() {
			defer func() { _ = recover() }()
			_ = b.closeSource()
		}()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pumping = false
	b.freeUnused()
	close(b.done)
}

// closeSource closes the body of the answer, once.
func (b *body) closeSource() error {
	if b.srcClosed.Swap(true) {
		return nil
	}
	return b.src.Close()
}
