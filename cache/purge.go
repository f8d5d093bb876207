package cache

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy/backend"
)

// PurgeMode is how responses are purged.
type PurgeMode uint8

const (
	// PurgeRemove takes them out.
	PurgeRemove PurgeMode = iota

	// PurgeSoft leaves them where they are, but they are used only after the
	// origin was asked whether they are still right.
	PurgeSoft
)

// Purge purges what is stored for a URI, all variants of it, whatever else the
// origin was told, and returns how many responses that is. A fetch that is under
// way is not stored. With a Key function, uri is a key.
func (c *Cache) Purge(ctx context.Context, uri string, mode PurgeMode) (int, error) {
	c.setup()
	key, err := c.keyOfURI(uri)
	if err != nil {
		return 0, err
	}
	return c.purgeKey(ctx, key, mode)
}

func (c *Cache) purgeKey(ctx context.Context, key string, mode PurgeMode) (int, error) {
	c.flights.groundKey(key)
	c.alone.drop(key)
	entries, err := c.store.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	n, err := c.purge(ctx, entries, mode)
	if c.transported.Load() || !c.wrapped.Load() { // or another Cache with this Store may be one
		more, perr := c.PurgePrefix(ctx, key+" ", mode) // a URI has no blank
		n, err = n+more, cmp.Or(err, perr)
	}
	return n, err
}

// PurgePrefix purges what is stored for all URIs that begin with prefix, such
// as "https://example.org/images/". The host must be in lower case, without a
// default port.
func (c *Cache) PurgePrefix(ctx context.Context, prefix string, mode PurgeMode) (int, error) {
	return c.purgeKeys(ctx, mode, func(key string) bool { return strings.HasPrefix(key, prefix) })
}

// PurgeAll purges everything.
func (c *Cache) PurgeAll(ctx context.Context, mode PurgeMode) (int, error) {
	return c.purgeKeys(ctx, mode, func(string) bool { return true })
}

func (c *Cache) purgeKeys(ctx context.Context, mode PurgeMode, meant func(key string) bool) (int, error) {
	c.setup()
	c.flights.ground(c.flights.under(meant)...)
	return c.purgeIf(ctx, mode, func(m *store.Meta) bool { return meant(m.Key) })
}

func (c *Cache) purgeIf(ctx context.Context, mode PurgeMode, meant func(*store.Meta) bool) (int, error) {
	var entries []store.Entry
	err := c.store.Walk(ctx, func(e store.Entry) bool {
		if meant(e.Meta()) {
			entries = append(entries, e)
		}
		return true
	})
	n, perr := c.purge(ctx, entries, mode)
	return n, cmp.Or(err, perr)
}

// PurgeTags purges what has one of the surrogate keys: the fields Surrogate-Key
// and Cache-Tag of responses. A fetch that is under way is not stored if its
// answer has one.
func (c *Cache) PurgeTags(ctx context.Context, mode PurgeMode, tags ...string) (total int, err error) {
	c.setup()
	c.flights.groundTags(slices.Clone(tags))
	t, ok := c.store.(store.Tagged)
	if !ok {
		return c.purgeIf(ctx, mode, func(m *store.Meta) bool { return rfc9111.Carries(m.Tags, tags) })
	}
	for _, tag := range tags {
		entries, terr := t.Tagged(ctx, tag)
		n, perr := c.purge(ctx, entries, mode)
		total += n
		err = cmp.Or(err, terr, perr)
	}
	return total, err
}

// purge goes on after a failure: what is left would still be served. Its error
// is the first one.
func (c *Cache) purge(ctx context.Context, entries []store.Entry, mode PurgeMode) (n int, err error) {
	defer func() { c.counters.purged.Add(int64(n)) }()
	for _, e := range entries {
		if mode == PurgeSoft {
			if c.soften(ctx, e) {
				n++
			}
			continue
		}
		if rerr := c.store.Remove(ctx, e); rerr == nil {
			n++
		} else if err == nil {
			err = rerr
		}
		if ctx.Err() != nil {
			break
		}
	}
	return n, err
}

// Walk calls f with what is stored, until it returns false.
func (c *Cache) Walk(ctx context.Context, f func(store.Entry) bool) error {
	c.setup()
	return c.store.Walk(ctx, f)
}

// keyOfURI is the key of a URI as somebody writes it.
func (c *Cache) keyOfURI(uri string) (string, error) {
	if c.Key != nil {
		return uri, nil
	}
	u, err := backend.ParseURL(uri)
	if err != nil {
		return "", err
	}
	return c.uriKey(u.Scheme, u.Host, u), nil
}
