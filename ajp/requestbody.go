package ajp

import (
	"errors"
	"net/http"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// emptyPacket ends the body of a request.
var emptyPacket = []byte{0x12, 0x34, 0, 0}

// feeder sends the body of a request, on a goroutine of its own so that an
// answer that comes before the body's end is seen.
//
// A body of known length begins unasked; from then on each packet is sent when
// the container has asked for it.
type feeder struct {
	proxy.BodySender
	c       *backend.Conn
	kind    bodyKind
	size    int      // of packets
	asked   chan int // of capacity 1: how many bytes the container wants
	stopped chan struct{}
}

func startFeeder(c *backend.Conn, r *http.Request, kind bodyKind, size int, hooks proxy.Hooks) *feeder {
	f := &feeder{c: c, kind: kind, size: size, asked: make(chan int, 1), stopped: make(chan struct{})}
	f.Init(c, r, hooks)
	if kind == bodyLength {
		f.Expect()
	}
	go func() { f.Finish(f.send()) }()
	return f
}

// errNotAsked is why a body was not sent to its end: the answer came before.
var errNotAsked = errors.New("the rest of the body was not asked for")

// sender is the BodySender of a feeder, or nil.
func (f *feeder) sender() *proxy.BodySender {
	if f == nil {
		return nil
	}
	return &f.BodySender
}

// takes hands a wish over, and reports whether the goroutine will fulfil it. It
// will not once the body has ended.
func (f *feeder) takes(want int) bool {
	if f == nil {
		return false
	}
	if f.Ending() {
		f.Wait() // the packet that the container has read is written in a moment
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
func (f *feeder) overrun() bool { return f != nil && !f.Ending() }

// stop ends the goroutine when it waits to be asked.
func (f *feeder) stop() { close(f.stopped) }

// send sends the packets that are asked for.
func (f *feeder) send() error {
	packet := make([]byte, min(f.size, bodyHead+32<<10))
	asked := f.kind == bodyLength
	for !f.Ending() {
		want := len(packet) - bodyHead
		if !asked {
			select {
			case n := <-f.asked:
				want = min(n, want)
			case <-f.stopped:
				return errNotAsked
			}
		}
		asked = false
		n, err := f.read(packet[bodyHead : bodyHead+want])
		if err != nil {
			return err
		}
		if _, err := f.c.Write(bodyPacket(packet, n)); err != nil {
			return err
		}
	}
	return nil
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

// read reads what there is of the body; none only at its end.
func (f *feeder) read(p []byte) (int, error) {
	for len(p) > 0 {
		n, last, err := f.Read(p)
		if err != nil {
			return 0, err
		}
		if n > 0 || last {
			f.c.Extend() // the client may have used the time up
			return n, nil
		}
	}
	return 0, nil // nothing was wanted
}
