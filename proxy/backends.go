package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// Backends finds the backend of a URL for a transport: one for all, or one for
// each scheme and host, made on first use. The zero value makes backends with
// default fields.
type Backends struct {
	mu     sync.Mutex // guards all below
	own    map[originKey]*backend.Backend
	enough int // length of own at which it is looked through
}

// For returns the backend that serves u: all if it is not nil, else the one of
// u's scheme and host, which newBackend makes, or by default fields if that is
// nil. The scheme must be one of schemes.
func (s *Backends) For(u *url.URL, all *backend.Backend, newBackend func(*url.URL) *backend.Backend, schemes ...string) (*backend.Backend, error) {
	if u == nil {
		return nil, badRequest("request has no URL")
	}
	if !containsFold(schemes, u.Scheme) {
		return nil, &Error{Op: OpRequest, Status: http.StatusInternalServerError, Err: fmt.Errorf("scheme %q is not spoken here", u.Scheme)}
	}
	if all != nil {
		return all, nil
	}
	if u.Host == "" {
		return nil, badRequest("request URL names no host")
	}
	key := originKey{u.Scheme, u.Host}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.own[key]; b != nil {
		return b, nil
	}
	at := &url.URL{Scheme: u.Scheme, Host: u.Host}
	b := &backend.Backend{URL: at}
	if newBackend != nil {
		b = newBackend(at)
	}
	if s.own == nil {
		s.own = make(map[originKey]*backend.Backend)
	}
	s.forget()
	s.own[key] = b
	return b, nil
}

// forget is Transport.forget for backends without HTTP/2.
func (s *Backends) forget() {
	if len(s.own) < max(s.enough, fewOrigins) {
		return
	}
	now := time.Now()
	for key, b := range s.own {
		if st := b.Stats(); st.Open == 0 && st.Waiting == 0 && st.Flags == 0 && b.Usable(now) {
			delete(s.own, key)
		}
	}
	s.enough = 2 * len(s.own)
}

// Retire closes the idle connections of the backends made here, and forgets
// them.
func (s *Backends) Retire() {
	s.mu.Lock()
	own := s.own
	s.own = nil
	s.mu.Unlock()
	for _, b := range own {
		b.Retire() // a request may have it in hand
	}
}

func containsFold(list []string, s string) bool {
	for _, v := range list {
		if strings.EqualFold(v, s) {
			return true
		}
	}
	return false
}
