package balancer

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/modproxy/modproxy/proxy/exchange"
)

var errBodyRevoked = errors.New("balancer: read on the request body of an earlier attempt")

// The use of a sentBody.
const (
	bodyFresh   int32 = iota
	bodyUnread        // was closed, and nobody has read from it
	bodyTouched       // was read from: it is the attempt's
	bodyRevoked       // is another attempt's, or closed
)

// sentBody is the body of a request as one attempt sees it. It counts what is
// sent, and as long as nobody has read from it, closing it does not close the
// client's body, so that another attempt can have it.
type sentBody struct {
	r    io.ReadCloser
	m    *Member
	use  atomic.Int32
	sent atomic.Int64
}

// revoke takes the body away from an attempt that has not read from it, and
// reports whether it was so.
func (s *sentBody) revoke() bool {
	return s.use.CompareAndSwap(bodyFresh, bodyRevoked) || s.use.CompareAndSwap(bodyUnread, bodyRevoked)
}

// again returns the body for the next attempt: for a request without one, nil.
func (s *sentBody) again(r *http.Request) (*sentBody, error) {
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return nil, nil
	case s == nil:
		return &sentBody{r: r.Body}, nil
	case s.revoke():
		return &sentBody{r: s.r}, nil
	case r.GetBody == nil:
		return nil, exchange.ErrBodySent
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	return &sentBody{r: body}, nil
}

// renew is told that the transport goes on with a body from GetBody: this one,
// even if it was not read, is not to be had again.
func (s *sentBody) renew() {
	if s.revoke() {
		_ = s.r.Close()
	}
}

// abandon closes the client's body when there is no further attempt.
func (s *sentBody) abandon(r *http.Request) {
	switch {
	case s != nil:
		if s.revoke() {
			_ = s.r.Close()
		}
	case r.Body != nil:
		_ = r.Body.Close()
	}
}

// settle closes the client's body after an answer, if the transport has closed
// it without reading.
func (s *sentBody) settle() {
	if s != nil && s.use.CompareAndSwap(bodyUnread, bodyRevoked) {
		_ = s.r.Close()
	}
}

func (s *sentBody) Read(p []byte) (int, error) {
	if s.use.Load() != bodyTouched && !s.use.CompareAndSwap(bodyFresh, bodyTouched) {
		switch s.use.Load() {
		case bodyUnread:
			return 0, http.ErrBodyReadAfterClose
		case bodyRevoked:
			return 0, errBodyRevoked
		}
	}
	n, err := s.r.Read(p)
	if n > 0 {
		s.sent.Add(int64(n))
		s.m.sent.Add(int64(n))
	}
	return n, err
}

func (s *sentBody) Close() error {
	if s.use.CompareAndSwap(bodyFresh, bodyUnread) || s.use.Load() != bodyTouched {
		return nil
	}
	return s.r.Close()
}
