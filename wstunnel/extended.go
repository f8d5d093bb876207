package wstunnel

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy"
)

// extendedConnect returns the protocol that an extended CONNECT asks for (RFC
// 8441 section 4), or "".
func extendedConnect(r *http.Request) string {
	if p := r.Header[":protocol"]; r.Method == http.MethodConnect && r.ProtoMajor >= 2 && len(p) == 1 {
		return p[0]
	}
	return ""
}

// asUpgrade returns an extended CONNECT as the upgrade that HTTP/1.1 has for it.
func asUpgrade(r *http.Request, protocol string) *http.Request {
	in := r.WithContext(r.Context())
	in.Method = http.MethodGet
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	in.Body, in.ContentLength, in.TransferEncoding = http.NoBody, 0, nil
	in.Header = r.Header.Clone()
	delete(in.Header, ":protocol")
	in.Header["Connection"] = []string{"Upgrade"}
	in.Header["Upgrade"] = []string{protocol}
	if isWebSocket(protocol) { // RFC 8441 section 5.1 has no key
		var key [16]byte
		_, _ = rand.Read(key[:])
		in.Header[fieldKey] = []string{base64.StdEncoding.EncodeToString(key[:])}
	}
	return in
}

// streamWriter answers an extended CONNECT.
type streamWriter struct {
	http.ResponseWriter
	r      *http.Request
	stream *stream // nil before the switch
}

func (w *streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader leaves out what HTTP/2 has no use for.
func (w *streamWriter) WriteHeader(code int) {
	h := w.Header()
	delete(h, "Upgrade")
	delete(h, "Connection")
	w.ResponseWriter.WriteHeader(code)
}

// SwitchProtocols answers 200, and makes the stream a connection.
func (w *streamWriter) SwitchProtocols(h http.Header) (io.ReadWriteCloser, error) {
	dst := w.Header()
	clear(dst)
	for name, values := range h {
		if name != fieldAccept { // there was no key
			dst[name] = values
		}
	}
	rc := http.NewResponseController(w.ResponseWriter)
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Time{})
	w.ResponseWriter.WriteHeader(http.StatusOK)
	if err := rc.Flush(); err != nil {
		return nil, err
	}
	w.stream = &stream{w: w.ResponseWriter, body: w.r.Body, ctx: w.r.Context(), rc: rc, addr: streamAddr(w.r.RemoteAddr), closed: make(chan struct{})}
	return w.stream, nil
}

// wait returns when the tunnel has closed its stream and writes no more: a
// handler of HTTP/2 must not return before.
func (w *streamWriter) wait() {
	if s := w.stream; s != nil {
		<-s.closed
		s.mu.Lock()
		defer s.mu.Unlock()
	}
}

// stream is the client's side of a tunnel over one stream of HTTP/2. It cannot
// be half-closed.
type stream struct {
	w      http.ResponseWriter
	body   io.ReadCloser
	ctx    context.Context // of the request: it ends with the stream
	rc     *http.ResponseController
	addr   streamAddr
	once   sync.Once
	closed chan struct{}
	mu     sync.Mutex // held while w is in use
	limit  atomic.Pointer[time.Time]
}

var _ proxy.Switcher = (*streamWriter)(nil)

func (s *stream) Read(p []byte) (int, error) { return s.body.Read(p) }

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	default:
	}
	if t := s.limit.Load(); t != nil && !t.IsZero() {
		_ = s.rc.SetWriteDeadline(*t)
		defer func() { _ = s.rc.SetWriteDeadline(time.Time{}) }()
	}
	n, err := s.w.Write(p)
	if err == nil {
		err = s.rc.Flush()
	}
	return n, err
}

// Close ends the stream: cleanly, unless the client does not take what is being
// written.
func (s *stream) Close() error { return s.end(false) }

// Abort resets the stream, so that its end does not look like one that was
// meant.
func (s *stream) Abort() error { return s.end(true) }

func (s *stream) end(reset bool) error {
	s.once.Do(func() {
		free := s.mu.TryLock()
		if reset || !free {
			_ = s.rc.SetWriteDeadline(time.Now()) // net/http resets it then
		}
		close(s.closed) // only now: the handler returns, and rc is of no more use
		if free {
			s.mu.Unlock()
		}
		_ = s.body.Close()
	})
	return nil
}

// Gone returns why the client is gone, though it is not read from; nil if it is
// there.
func (s *stream) Gone() error { return context.Cause(s.ctx) }

// CloseWrite cannot be done without ending the stream.
func (s *stream) CloseWrite() error { return errors.ErrUnsupported }

func (s *stream) LocalAddr() net.Addr               { return streamAddr("") }
func (s *stream) RemoteAddr() net.Addr              { return s.addr }
func (s *stream) SetReadDeadline(t time.Time) error { return s.rc.SetReadDeadline(t) }

// SetWriteDeadline is for the writes that begin after it. net/http resets a
// stream whose deadline passes even while nothing is being written.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.limit.Store(&t)
	return nil
}

func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

type streamAddr string

func (streamAddr) Network() string  { return "tcp" }
func (a streamAddr) String() string { return string(a) }
