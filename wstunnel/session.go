package wstunnel

import (
	"compress/flate"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// session is a tunnel in message mode.
//
//	open ──Close of one side, or refused──► closing ──Close of both, or closeWait──► over
type session struct {
	m       *Messages
	request *http.Request
	token   string // the payload of the proxy's own Pings

	mu              sync.Mutex // guards what follows
	client, backend *peer      // nil before run
	leaving, over   bool
	ping            *time.Timer
	last            *time.Timer // ends the session; nil while it is open
	cause           error       // the first
}

// peer is one side.
type peer struct {
	*websocket.Conn
	wire   *wire
	closed atomic.Bool   // it was sent a Close
	said   atomic.Int32  // the code of the Close that came from it
	pinged time.Duration // when the Ping was sent that it has yet to answer; the timer's own
}

// closeWait is how long a side may take to answer a Close, and ctlWait how long
// a control frame of the proxy's own may take to be written.
const (
	closeWait = 5 * time.Second
	ctlWait   = time.Second
)

// run passes messages until both sides have closed, or one has broken off.
func (s *session) run(client, backend *peer) error {
	var token [8]byte
	_, _ = rand.Read(token[:])
	s.token = string(token[:])
	s.mu.Lock()
	s.client, s.backend = client, backend
	leaving := s.leaving
	if d := s.m.PingInterval; d > 0 {
		s.ping = time.AfterFunc(d, s.keepAlive)
	}
	s.mu.Unlock()
	if leaving {
		s.leave()
	}
	s.control(client, backend)
	s.control(backend, client)
	var other sync.WaitGroup
	other.Go(func() { s.pass(backend, client, true) })
	s.pass(client, backend, false)
	other.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, t := range []*time.Timer{s.ping, s.last} {
		if t != nil {
			t.Stop()
		}
	}
	return s.cause
}

// control passes the control frames of one side on. They wait for the other
// side as messages do: gorilla/websocket writes nothing more to a connection on
// which a write has met its time limit.
func (s *session) control(from, to *peer) {
	from.SetPingHandler(func(data string) error {
		_ = to.WriteControl(websocket.PingMessage, []byte(data), time.Time{})
		return nil
	})
	from.SetPongHandler(func(data string) error {
		if data != s.token {
			_ = to.WriteControl(websocket.PongMessage, []byte(data), time.Time{})
		}
		return nil
	})
	limit := s.m.maxSize()
	from.SetReadLimit(limit + limit/256 + 1<<10) // compression can make a little more of it
}

// pass is one direction.
func (s *session) pass(from, to *peer, fromBackend bool) {
	for {
		kind, r, err := from.NextReader()
		if err != nil {
			s.ended(from, to, err)
			return
		}
		if !to.closed.Load() {
			err = uncompressed(s.message(to, kind, r, fromBackend))
		}
		var we *writeError
		var refused *CloseError
		switch {
		case err == nil:
		case errors.As(err, &we):
			to.closed.Store(true)
			s.closing(nil) // it may still have a Close to send
		case errors.As(err, &refused):
			s.refuse(from, to, refused)
		default:
			s.ended(from, to, err)
			return
		}
	}
}

// writeError is an error of the side that a message goes to.
type writeError struct{ error }

// message passes one message on.
func (s *session) message(to *peer, kind int, r io.Reader, fromBackend bool) error {
	r = &limited{r: r, left: s.m.maxSize()}
	if s.m.OnMessage == nil {
		return passOn(to, kind, r)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	text := kind == websocket.TextMessage
	if text && !utf8.Valid(data) {
		return errUTF8
	}
	msg := &Message{Request: s.request, FromBackend: fromBackend, Text: text, Data: data}
	if err := s.onMessage(msg); err == ErrDrop {
		return nil
	} else if err != nil {
		s.note(err)
		return closeCode(err)
	}
	if kind = websocket.BinaryMessage; msg.Text {
		kind = websocket.TextMessage
		if !utf8.Valid(msg.Data) {
			return &CloseError{Code: websocket.CloseInternalServerErr}
		}
	}
	if err := to.WriteMessage(kind, msg.Data); err != nil {
		return &writeError{err}
	}
	return nil
}

// onMessage calls the hook. A panic of it, which net/http would bear in a
// handler, is an error here too.
func (s *session) onMessage(msg *Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("wstunnel: OnMessage panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return s.m.OnMessage(msg)
}

var (
	errTooBig = &CloseError{Code: websocket.CloseMessageTooBig, Reason: "message is too long"}
	errUTF8   = &CloseError{Code: websocket.CloseInvalidFramePayloadData, Reason: "text is not UTF-8"}
)

// passOn passes a message on while it comes in.
func passOn(to *peer, kind int, r io.Reader) error {
	if kind == websocket.TextMessage {
		r = &checkedText{r: r}
	}
	w, err := to.NextWriter(kind)
	if err != nil {
		return &writeError{err}
	}
	buf := streamBuffers.Get().(*[writeBuffer]byte)
	defer streamBuffers.Put(buf)
	for {
		n, rerr := r.Read(buf[:])
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return &writeError{err}
			}
		}
		if rerr == io.EOF {
			break
		}
		if rerr != nil {
			return rerr // the message stays open: a Close may come in its middle
		}
	}
	if err := w.Close(); err != nil {
		return &writeError{err}
	}
	return nil
}

// uncompressed words the failure to decompress a message.
func uncompressed(err error) error {
	var corrupt flate.CorruptInputError
	if errors.As(err, &corrupt) || err == io.ErrUnexpectedEOF {
		return &CloseError{Code: websocket.CloseInvalidFramePayloadData, Reason: "compression is malformed"}
	}
	return err
}

var streamBuffers = sync.Pool{New: func() any { return new([writeBuffer]byte) }}

// limited refuses what is longer than it may be.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errTooBig
	}
	return n, err
}

// checkedText refuses text that is not UTF-8.
type checkedText struct {
	r    io.Reader
	rest [utf8.UTFMax]byte // of a rune that was cut
	have int
}

func (t *checkedText) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	b := p[:n]
	for t.have > 0 && len(b) > 0 { // the rest of the rune
		t.rest[t.have] = b[0]
		t.have++
		b = b[1:]
		if utf8.FullRune(t.rest[:t.have]) {
			if !utf8.Valid(t.rest[:t.have]) {
				return 0, errUTF8
			}
			t.have = 0
		}
	}
	cut := cutRune(b)
	if !utf8.Valid(b[:len(b)-cut]) {
		return 0, errUTF8
	}
	t.have += copy(t.rest[t.have:], b[len(b)-cut:])
	if err == io.EOF && t.have > 0 {
		return 0, errUTF8
	}
	return n, err
}

// cutRune returns how many bytes at the end of b begin a rune that is not
// complete.
func cutRune(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return i
			}
			return 0
		}
	}
	return 0
}
