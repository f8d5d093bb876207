package main

import (
	"context"
	"net/url"

	"github.com/modproxy/modproxy/cache/store"
)

// Shares is a store.Store that gives each of some hosts a store of its own: a
// busy site cannot drive out what a quiet one has stored. Which hosts these are
// is settled, as everybody can ask for hosts that there are not.
type Shares struct {
	Hosts map[string]store.Store // by name in lower case, with its port if it is not the usual one
	Rest  store.Store            // of all others
}

// of returns the store of a key, which is a URI.
func (s *Shares) of(key string) store.Store {
	if u, err := url.Parse(key); err == nil {
		if own, ok := s.Hosts[u.Host]; ok {
			return own
		}
	}
	return s.Rest
}

// Get implements store.Store.
func (s *Shares) Get(ctx context.Context, key string) ([]store.Entry, error) {
	return s.of(key).Get(ctx, key)
}

// Create implements store.Store.
func (s *Shares) Create(ctx context.Context, meta *store.Meta) (store.Writer, error) {
	return s.of(meta.Key).Create(ctx, meta)
}

// Update implements store.Store.
func (s *Shares) Update(ctx context.Context, e store.Entry, meta *store.Meta) error {
	return s.of(meta.Key).Update(ctx, e, meta)
}

// Remove implements store.Store.
func (s *Shares) Remove(ctx context.Context, e store.Entry) error {
	return s.of(e.Meta().Key).Remove(ctx, e)
}

// Walk implements store.Store: through one store after the other, until f has
// enough.
func (s *Shares) Walk(ctx context.Context, f func(store.Entry) bool) error {
	more := true
	each := func(e store.Entry) bool {
		more = f(e)
		return more
	}
	err := s.Rest.Walk(ctx, each)
	for _, own := range s.Hosts {
		if err != nil || !more {
			break
		}
		err = own.Walk(ctx, each)
	}
	return err
}
