package buffer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/copybuf"
)

// restTime is how long Close waits for what is being read, as it comes maybe just
// now; the body that is read then decides about the rest.
const restTime = 200 * time.Millisecond

// body is the body of an answer that is read as fast as it comes. One goroutine
// reads; another may close.
//
//	src --pump--> queue --Read, WriteTo--> client
type body struct {
	t            *Transport
	ctx          context.Context
	resp, out    *http.Response // of Next, and what the client has
	src          io.ReadCloser
	ready        readier // src, if it is one
	memory, most int64
	srcClosed    atomic.Bool

	more, less chan struct{} // something was added, or taken
	done       chan struct{} // closed when nothing is read from src any more

	// Of the pump.
	patience time.Duration // how long it may still wait before a file is begun
	timer    *time.Timer   // of that; nil before
	spill    *piece        // what is to go to the file; nil before

	mu      sync.Mutex // guards the rest
	q       queue
	err     error // what follows the queue; nil before
	failed  error // why the file cannot be read
	paused  bool  // the backend is waited for
	pumping bool
	using   bool // by a read
	closed  bool
}

func newBody(t *Transport, ctx context.Context, resp, out *http.Response) *body {
	b := &body{
		t: t, ctx: ctx, resp: resp, out: out, src: resp.Body, patience: patience, pumping: true,
		more: make(chan struct{}, 1), less: make(chan struct{}, 1), done: make(chan struct{}),
	}
	b.memory, b.most = t.limits()
	b.q.size = b.most
	return b
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// backend names who has sent the answer.
func (b *body) backend() string {
	if r := b.resp.Request; r != nil && r.URL != nil {
		return r.URL.Scheme + "://" + r.URL.Host
	}
	return ""
}

// part is what comes first in the queue: bytes of a piece, or some of the file.
type part struct {
	head     *piece
	data     []byte
	from, to int64
}

func (p part) empty() bool { return len(p.data) == 0 && p.from == p.to }

// next waits for something to take; what it returns is given back by took. While
// the backend pauses, w is flushed, if it is not nil.
func (b *body) next(w io.Writer) (part, error) {
	for flushed := w == nil; ; {
		p, paused, err := b.first()
		if err != nil || !p.empty() {
			return p, err
		}
		if paused && !flushed {
			if err := exchange.FlushWriter(w); err != nil {
				return part{}, err
			}
			flushed = true
			continue
		}
		<-b.more
	}
}

// first returns what comes first, if there is something, and else if the backend
// pauses, or the error that ends the body.
func (b *body) first() (p part, paused bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return p, false, http.ErrBodyReadAfterClose
	}
	if p.head = b.q.head(); p.head != nil {
		p.data = p.head.data[p.head.from:p.head.to]
	} else if b.failed == nil {
		p.from, p.to = b.q.from, b.q.to
	} else {
		return p, false, b.failed
	}
	if p.empty() && b.err != nil {
		b.merge()
		return p, false, b.err
	}
	b.using = !p.empty()
	return p, b.paused, nil
}

// merge has the client's answer tell the trailer that has come.
func (b *body) merge() {
	for name, values := range b.resp.Trailer {
		if b.out.Trailer == nil {
			b.out.Trailer = make(http.Header, len(b.resp.Trailer))
		}
		b.out.Trailer[name] = values
	}
}

// took notes that n bytes of p were taken.
func (b *body) took(p part, n int) {
	b.mu.Lock()
	b.using = false
	if p.head != nil {
		p.head.from += n
		b.q.inMemory -= int64(n)
	} else {
		b.q.from += int64(n)
	}
	b.freeUnused()
	b.mu.Unlock()
	signal(b.less)
}

// freeUnused gives back what is kept, once nobody wants it nor uses it. The caller
// holds the lock.
func (b *body) freeUnused() {
	if !b.using && !b.pumping && (b.closed || b.err != nil && b.q.held() == 0) {
		b.q.free()
	}
}

// readFile reads from the part of the file that is p.
func (b *body) readFile(p part, into []byte) (int, error) {
	n, err := b.q.readAt(into, p.from, p.to)
	if err == nil {
		return n, nil
	}
	err = &exchange.Error{Op: exchange.OpBody, Backend: b.backend(), Err: fmt.Errorf("answer cannot be read from its file: %w", err)}
	b.mu.Lock()
	b.failed = err
	b.mu.Unlock()
	return 0, err
}

// Read returns what has come, or waits for it.
func (b *body) Read(into []byte) (n int, err error) {
	if len(into) == 0 {
		return 0, nil
	}
	p, err := b.next(nil)
	if err != nil {
		return 0, err
	}
	defer func() { b.took(p, n) }()
	if p.head != nil {
		return copy(into, p.data), nil
	}
	return b.readFile(p, into)
}

// WriteTo writes the rest of the body to w. A w that can be flushed is flushed
// whenever the backend pauses. An error of w is returned as it is.
func (b *body) WriteTo(w io.Writer) (total int64, err error) {
	var lent *[copybuf.Size]byte
	defer func() {
		if lent != nil {
			copybuf.Pool.Put(lent)
		}
	}()
	for {
		p, err := b.next(w)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		if p.head == nil && lent == nil {
			lent = copybuf.Pool.Get().(*[copybuf.Size]byte)
		}
		n, err := b.writePart(w, p, lent)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

// writePart writes p, or of the file as much as buf holds.
func (b *body) writePart(w io.Writer, p part, buf *[copybuf.Size]byte) (n int, err error) {
	defer func() { b.took(p, n) }()
	data := p.data
	if p.head == nil {
		m, err := b.readFile(p, buf[:])
		if err != nil {
			return 0, err
		}
		data = buf[:m]
	}
	n, err = w.Write(data)
	if n != len(data) && err == nil {
		err = io.ErrShortWrite
	}
	return max(0, min(n, len(data))), err
}

// Close ends the body, and closes that of Next: its connection is used again, or
// closed, as that decides.
func (b *body) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	b.freeUnused()
	pumping := b.pumping
	b.mu.Unlock()
	signal(b.more)
	signal(b.less)
	if pumping && b.ctx.Err() == nil {
		timer := time.NewTimer(restTime)
		defer timer.Stop()
		select {
		case <-b.done:
		case <-timer.C:
		case <-b.ctx.Done():
		}
	}
	return b.closeSource()
}
