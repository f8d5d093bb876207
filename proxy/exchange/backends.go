package exchange

import (
	"cmp"
	"container/list"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/modproxy/modproxy/proxy/backend"
)

// Backends finds the backend of a URL for a transport: one for all, or one for
// each scheme and host, made on first use. The zero value makes backends with
// default fields.
//
// Who may name any host fills neither the table of sockets nor the memory: the
// backends made here share a [backend.IdleLimit] with default fields, unless
// newBackend gives them another, and of those that nothing would be lost with
// (see [backend.Backend.Unused]) no more than a few are remembered.
type Backends struct {
	idle backend.IdleLimit

	mu    sync.Mutex // guards the rest
	own   map[originKey]*list.Element
	round list.List // of *ownBackend; those at the front are looked at next
}

type originKey struct{ scheme, host string }

// ownBackend is a backend that was made here.
type ownBackend struct {
	*backend.Backend
	key  originKey
	used bool // since it was last looked at
}

const (
	fewOrigins    = 256 // backends that are remembered whether they are of use or not
	roundsAtATime = 4   // backends that are looked at for each one made beyond
)

// For returns the backend that serves u: all if it is not nil, else the one of
// u's scheme and host, which newBackend makes, or by default fields if that is
// nil. The scheme must be one of schemes. It returns the backends as well that it
// has forgotten, for who keeps more about each than it does.
func (s *Backends) For(u *url.URL, all *backend.Backend, newBackend func(*url.URL) *backend.Backend, schemes ...string) (_ *backend.Backend, gone []*backend.Backend, _ error) {
	if u == nil {
		return nil, nil, BadRequest("request has no URL")
	}
	if !slices.Contains(schemes, strings.ToLower(u.Scheme)) {
		return nil, nil, &Error{Op: OpRequest, Status: http.StatusInternalServerError, Err: fmt.Errorf("scheme %q is not spoken here", u.Scheme)}
	}
	if all != nil {
		return all, nil, nil
	}
	if u.Host == "" {
		return nil, nil, BadRequest("request URL names no host")
	}
	key := originKey{strings.ToLower(u.Scheme), strings.ToLower(u.Host)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.own[key]; e != nil {
		b := e.Value.(*ownBackend)
		b.used = true
		return b.Backend, s.forget(len(s.own) / fewOrigins), nil
	}
	at := &url.URL{Scheme: key.scheme, Host: u.Host}
	b := &backend.Backend{URL: at}
	if newBackend != nil {
		if b = newBackend(at); b == nil {
			return nil, nil, &Error{Op: OpRequest, Status: http.StatusInternalServerError, Err: fmt.Errorf("no backend was made for %s", at.Redacted())}
		}
	}
	s.idle.Add(b)
	if s.own == nil {
		s.own = make(map[originKey]*list.Element)
	}
	s.own[key] = s.round.PushBack(&ownBackend{Backend: b, key: key})
	return b, s.forget(roundsAtATime), nil
}

// forget looks at n backends, if there are more than a few, and drops those
// that were not used of late and that nothing would be lost with. The caller
// holds the lock.
func (s *Backends) forget(n int) (gone []*backend.Backend) {
	for ; n > 0 && len(s.own) > fewOrigins; n-- {
		e := s.round.Front()
		b := e.Value.(*ownBackend)
		if b.used || !b.Unused() {
			b.used = false
			s.round.MoveToBack(e)
			continue
		}
		s.round.Remove(e)
		delete(s.own, b.key)
		gone = append(gone, b.Backend)
	}
	return gone
}

// Retire closes the idle connections of the backends made here, and forgets
// them.
func (s *Backends) Retire() {
	for _, b := range s.take() {
		b.Retire() // a request may have it in hand
	}
}

// take forgets all backends and returns them.
func (s *Backends) take() []*backend.Backend {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.list()
	clear(s.own)
	s.round.Init()
	return list
}

// list returns the backends; the caller holds the lock.
func (s *Backends) list() []*backend.Backend {
	list := make([]*backend.Backend, 0, len(s.own))
	for e := s.round.Front(); e != nil; e = e.Next() {
		list = append(list, e.Value.(*ownBackend).Backend)
	}
	return list
}

// Stats returns the figures of the backends made here, by their names; or of
// all, if it is not nil.
func (s *Backends) Stats(all *backend.Backend) []backend.Stats {
	if all != nil {
		return []backend.Stats{all.Stats()}
	}
	s.mu.Lock()
	list := s.list()
	s.mu.Unlock()
	return statsOf(list)
}

// statsOf returns the figures of backends, by their names.
func statsOf(list []*backend.Backend) []backend.Stats {
	stats := make([]backend.Stats, 0, len(list))
	for _, b := range list {
		stats = append(stats, b.Stats())
	}
	slices.SortFunc(stats, func(a, b backend.Stats) int { return cmp.Compare(a.Name, b.Name) })
	return stats
}
