package ajp

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// emptyPacket ends the body of a request.
var emptyPacket = []byte{0x12, 0x34, 0, 0}

// endDelay is how long the end of an answer waits for the last packet of the
// request's body to leave.
const endDelay = 50 * time.Millisecond

// feeder sends the body of a request, on a goroutine of its own so that an
// answer that comes before the body's end is seen.
//
// A body of known length begins unasked; from then on each packet is sent when
// the container has asked for it.
type feeder struct {
	c    *backend.Conn
	r    *http.Request
	kind bodyKind
	size int // of packets

	asked   chan int // of capacity 1: how many bytes the container wants
	stopped chan struct{}
	done    chan struct{}
	reading atomic.Bool // the goroutine waits for the client
	ending  atomic.Bool // the last packet is being written
	broken  atomic.Bool // the client's body failed
	readErr error       // of the client's body; read it after done
	failed  bool        // a write failed; read it after done
}

func startFeeder(c *backend.Conn, r *http.Request, kind bodyKind, size int) *feeder {
	f := &feeder{c: c, r: r, kind: kind, size: size, asked: make(chan int, 1), stopped: make(chan struct{}), done: make(chan struct{})}
	f.reading.Store(kind == bodyLength)
	go f.run()
	return f
}

// waitsForClient reports whether nothing can come from the container since the
// client has not sent what was asked for.
func (f *feeder) waitsForClient() bool { return f != nil && f.reading.Load() }

// takes hands a wish over, and reports whether the goroutine will fulfil it. It
// will not once the body has ended.
func (f *feeder) takes(want int) bool {
	if f == nil {
		return false
	}
	if f.ending.Load() {
		<-f.done // the packet that the container has read is written in a moment
		return false
	}
	select {
	case f.asked <- want:
		return true
	default:
		return false
	}
}

// overrun reports whether a wish was not taken since another is open.
func (f *feeder) overrun() bool { return f != nil && !f.ending.Load() }

// finished reports whether the whole body was sent. A packet on its way is
// waited for, but not long.
func (f *feeder) finished() bool {
	if !f.ending.Load() {
		return false
	}
	select {
	case <-f.done:
	default:
		late := time.NewTimer(endDelay)
		defer late.Stop()
		select {
		case <-f.done:
		case <-late.C:
			return false
		}
	}
	return f.readErr == nil && !f.failed
}

// clientError returns the error of reading the client's body, if that ended
// the exchange.
func (f *feeder) clientError() error {
	if f == nil || !f.broken.Load() {
		return nil
	}
	<-f.done
	return f.readErr
}

// stop ends the goroutine when it waits to be asked.
func (f *feeder) stop() { close(f.stopped) }

func (f *feeder) run() {
	defer close(f.done)
	defer f.r.Body.Close()
	packet := make([]byte, min(f.size, bodyHead+32<<10))
	left := f.r.ContentLength
	asked := f.kind == bodyLength
	for !f.ending.Load() {
		want := len(packet) - bodyHead
		if !asked {
			select {
			case n := <-f.asked:
				want = min(n, want)
			case <-f.stopped:
				return
			}
		}
		asked = false
		n, err := f.read(packet[bodyHead:bodyHead+want], &left)
		if err != nil {
			f.readErr = err
			f.broken.Store(true)
			f.c.Abort() // the container must not take a part for the whole
			return
		}
		if _, err := f.c.Write(bodyPacket(packet, n)); err != nil {
			f.failed = true
			return
		}
	}
}

// bodyPacket completes the packet with n bytes of data.
func bodyPacket(packet []byte, n int) []byte {
	if n == 0 {
		return emptyPacket
	}
	putHead(packet, toContainer, n+2)
	putInt(packet[headSize:], n)
	return packet[:bodyHead+n]
}

// read reads some of the body, and marks its end; left is what must still come
// of a body of known length.
func (f *feeder) read(p []byte, left *int64) (int, error) {
	if f.kind == bodyLength && int64(len(p)) > *left {
		p = p[:*left]
	}
	for len(p) > 0 {
		f.reading.Store(true)
		n, err := f.r.Body.Read(p)
		f.reading.Store(false)
		if err != nil && err != io.EOF {
			return 0, err
		}
		*left -= int64(n)
		if f.kind == bodyLength && err == io.EOF && *left > 0 {
			return 0, fmt.Errorf("request body ended %d bytes short of its length: %w", *left, io.ErrUnexpectedEOF)
		}
		if err == io.EOF || f.kind == bodyLength && *left == 0 {
			f.ending.Store(true)
		}
		if n > 0 || err == io.EOF {
			f.c.Extend() // the client may have used the time up
			return n, nil
		}
	}
	return 0, nil // nothing was wanted
}
