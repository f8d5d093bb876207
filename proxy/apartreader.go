package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/internal/copybuf"
)

// endsReads reports whether w can end a read of its request's body.
func endsReads(w http.ResponseWriter) bool {
	for w != nil {
		if _, ok := w.(interface{ SetReadDeadline(time.Time) error }); ok {
			return true
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = u.Unwrap()
	}
	return false
}

// apartReader reads on a goroutine of its own where a read cannot be ended, so
// that whoever waits for it can go on. One goroutine reads, another may give up.
type apartReader struct {
	r       closeOnce
	buf     [copybuf.Size]byte
	asked   bool // for what will be got
	got     chan apartRead
	over    chan struct{}
	once    sync.Once
	closing atomic.Bool // the body is to be closed
}

type apartRead struct {
	n   int
	err error
}

var errGivenUp = errors.New("proxy: request body is not waited for any more")

func newApartReader(r io.ReadCloser) *apartReader {
	return &apartReader{r: closeOnce{ReadCloser: r}, got: make(chan apartRead, 1), over: make(chan struct{})}
}

func (a *apartReader) Read(p []byte) (int, error) {
	if !a.asked {
		a.asked = true
		into := a.buf[:min(len(p), len(a.buf))]
		go func() {
			n, err := a.r.Read(into)
			a.got <- apartRead{n, err}
			if a.closing.Load() {
				_ = a.r.Close()
			}
		}()
	}
	select {
	case <-a.over:
		return 0, errGivenUp
	case read := <-a.got:
		a.asked = false
		return copy(p, a.buf[:read.n]), read.err
	}
}

// close closes the body, or leaves that to the read that is under way: it would wait
// for it.
func (a *apartReader) close() {
	a.closing.Store(true)
	if !a.asked || len(a.got) > 0 {
		_ = a.r.Close()
	}
}

// giveUp ends the read that is under way, and all that follow.
func (a *apartReader) giveUp() { a.once.Do(func() { close(a.over) }) }
