package wstunnel

import (
	"errors"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// note keeps the first cause.
func (s *session) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil {
		s.cause = err
	}
}

// closing limits the time that is left.
func (s *session) closing(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil {
		s.cause = cause
	}
	if s.last == nil && !s.over {
		s.last = time.AfterFunc(closeWait, s.cut)
	}
}

// cut ends both connections at once.
func (s *session) cut() {
	_ = s.client.wire.Close()
	_ = s.backend.wire.Close()
}

// sendClose sends a Close, once. Code 1005 stands for none (RFC 6455 section
// 7.4.1).
func (p *peer) sendClose(code int, reason string) {
	if p.closed.Swap(true) {
		return
	}
	for len(reason) > maxReason || !utf8.ValidString(reason) {
		reason = reason[:min(len(reason)-1, maxReason)]
	}
	_ = p.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(ctlWait))
}

// maxReason is what a control frame has room for beside the code.
const maxReason = 123

// refuse closes both sides for something that from has sent.
func (s *session) refuse(from, to *peer, e *CloseError) {
	s.closing(e)
	from.sendClose(e.Code, e.Reason)
	to.sendClose(websocket.CloseGoingAway, "")
}

// leave tells both sides to go away.
func (s *session) leave() {
	s.mu.Lock()
	s.leaving = true
	client, backend, over := s.client, s.backend, s.over
	s.mu.Unlock()
	if client == nil || over {
		return
	}
	s.closing(nil)
	client.sendClose(websocket.CloseGoingAway, "")
	backend.sendClose(websocket.CloseGoingAway, "")
}

// ended is what the end of one side's messages means for the other.
func (s *session) ended(from, to *peer, err error) {
	var closed *websocket.CloseError
	var refused *CloseError
	switch {
	case errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure:
		s.closing(nil)
		from.said.Store(int32(closed.Code))
		to.sendClose(closed.Code, closed.Text)
	case errors.Is(err, websocket.ErrReadLimit): // the sender was told
		from.closed.Store(true)
		s.refuse(from, to, errTooBig)
		s.drain(from)
	case errors.As(err, &refused): // of its frames
		s.refuse(from, to, refused)
		s.drain(from)
	case from.closed.Load(): // it has left without an answer
		s.closing(nil)
		if code := to.said.Load(); code != 0 {
			to.sendClose(int(code), "")
		}
	default:
		s.closing(err)
		s.cut() // the other side must not take that for a clean end
	}
}

// drain waits until a side that is no longer understood has closed, so that
// what it was told is not lost in a reset.
func (s *session) drain(from *peer) {
	buf := streamBuffers.Get().(*[writeBuffer]byte)
	defer streamBuffers.Put(buf)
	for {
		if _, err := from.wire.Conn.Read(buf[:]); err != nil {
			return
		}
	}
}

// keepAlive is run by the timer: it sends Pings, and ends the session if one
// was not answered.
func (s *session) keepAlive() {
	interval, timeout := s.m.PingInterval, s.m.PongTimeout
	if timeout <= 0 {
		timeout = interval
	}
	next := interval
	for _, p := range []*peer{s.client, s.backend} {
		silent := p.wire.silence()
		now := time.Since(epoch)
		switch {
		case silent < interval:
			p.pinged = 0
			next = min(next, interval-silent)
		case p.pinged == 0 || now-silent > p.pinged: // heard of since
			p.pinged = now
			_ = p.WriteControl(websocket.PingMessage, []byte(s.token), time.Now().Add(ctlWait))
			next = min(next, timeout)
		case now-p.pinged >= timeout:
			s.note(ErrPingTimeout)
			s.cut()
			return
		default:
			next = min(next, timeout-(now-p.pinged))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.ping.Reset(max(next, time.Millisecond))
	}
}
