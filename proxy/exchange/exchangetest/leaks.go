package exchangetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"
)

// requestBody is the body of a request, which knows how it is used.
type requestBody struct {
	left   int64         // how much is to come
	fails  error         // what then comes in place of the end
	stalls chan struct{} // what is waited for then, if not nil

	mu     sync.Mutex // guards the rest
	closed int
	at     time.Time // when it was closed first
	late   bool      // it was read after that, and not by one who was about to
}

// Read gives what is left.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.closed > 0 && time.Since(b.at) > 10*time.Millisecond {
		b.late = true
	}
	n := min(int64(len(p)), b.left)
	b.left -= n
	b.mu.Unlock()
	switch {
	case n > 0 || len(p) == 0:
		for i := range p[:n] {
			p[i] = 'u'
		}
		return int(n), nil
	case b.fails != nil:
		return 0, b.fails
	case b.stalls != nil:
		<-b.stalls
		return 0, io.ErrUnexpectedEOF
	}
	return 0, io.EOF
}

// Close counts.
func (b *requestBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed++
	if b.closed == 1 {
		b.at = time.Now()
		if b.stalls != nil {
			close(b.stalls)
		}
	}
	return nil
}

// closes returns how often it was closed, and whether it was read after.
func (b *requestBody) closes() (n int, late bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed, b.late
}

// leftOver says what is wrong with what the exchanges have left behind, of which
// all answers were read or closed.
func (k *kit) leftOver() error {
	k.eventually(func() bool {
		for _, b := range k.bodies {
			if n, _ := b.closes(); n == 0 {
				return false
			}
		}
		return true
	})
	for _, b := range k.bodies {
		switch n, late := b.closes(); {
		case n != 1:
			return fmt.Errorf("the body of the request was closed %d times", n)
		case late:
			return errors.New("the body of the request was read after it was closed")
		}
	}
	if s := k.b.Stats(); s.Busy != 0 && !k.shares() {
		return fmt.Errorf("%d connections of the pool were not given back", s.Busy)
	}
	return nil
}

// shares reports whether several exchanges share a connection, so that those in
// use are not those of exchanges.
func (k *kit) shares() bool {
	_, ok := k.p.Lacks[oneForEach]
	return ok
}

// closeIdle closes what the transport keeps.
func (k *kit) closeIdle() {
	if c, ok := k.rt.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// stillOpen says whether a connection is open after all that are idle were
// closed.
func (k *kit) stillOpen() error {
	open := 0
	k.eventually(func() bool {
		open = 0
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, n := range k.near {
			if !n.isClosed() {
				open++
			}
		}
		return open == 0
	})
	if open > 0 {
		return fmt.Errorf("%d of %d connections were neither closed nor given back", open, len(k.near))
	}
	return nil
}

// goroutines returns the stacks of the goroutines that are in one bubble with
// the caller, by the line that names each.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := bytes.Split(buf, []byte("\n\n"))
	_, bubble, ok := strings.Cut(firstLine(stacks[0]), "synctest bubble ")
	if !ok {
		return nil
	}
	list := make(map[string]string)
	for _, s := range stacks[1:] {
		if head := firstLine(s); strings.HasSuffix(head, "synctest bubble "+bubble) {
			list[strings.Fields(head)[1]] = string(s)
		}
	}
	return list
}

func firstLine(s []byte) string {
	line, _, _ := bytes.Cut(s, []byte("\n"))
	return string(line)
}

// leaked says whether there are goroutines that were not there before.
func leaked(before map[string]string) error {
	for id, stack := range goroutines() {
		if _, ok := before[id]; !ok {
			return fmt.Errorf("a goroutine is left over:\n%s", stack)
		}
	}
	return nil
}
