package tunnel

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// stallTime is how long a write may take until its sender is looked at, and how
// often it is looked at then.
const stallTime = time.Second

// stalled watches the sender of bytes while they are written to a side that may
// not read: it is not read from then, and could be gone for long.
//
//	idle ──write──► writing ──stallTime──► look at the sender ──there──► writing
//	 ▲                 │                           │
//	 └────written──────┘                           └──gone──► the tunnel has lastWords to end
type stalled struct {
	relay *relay
	from  any        // the sender
	back  *direction // of the bytes to it

	mu      sync.Mutex // guards the rest
	writing int
	timer   *time.Timer // nil before the first write
}

// goner is a connection that knows by itself whether the other side is gone: a
// stream of HTTP/2.
type goner interface{ Gone() error }

func (s *stalled) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing++; s.writing > 1 {
		return
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(stallTime, s.look)
	} else {
		s.timer.Reset(stallTime)
	}
}

func (s *stalled) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing--; s.writing == 0 {
		s.timer.Stop()
	}
}

// look is run by the timer.
func (s *stalled) look() {
	if s.sees() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing > 0 {
		s.timer.Reset(stallTime)
	}
}

// sees looks at the sender, and reports whether it is gone.
func (s *stalled) sees() bool {
	from := s.from
	for {
		switch c := from.(type) {
		case goner:
			err := c.Gone()
			if err != nil {
				s.relay.goWithin(err, lastWords)
			}
			return err != nil
		case syscall.Conn:
			ended, gone, err := inspect(c, s.back.shut.Load())
			if ended {
				s.relay.endBehind()
			}
			if gone {
				s.relay.goWithin(err, lastWords)
			}
			return gone
		case interface{ NetConn() net.Conn }: // TLS
			from = c.NetConn()
		default:
			return true // or never known to be
		}
	}
}
