package memory

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"

	"github.com/modproxy/modproxy/cache/store"
)

// Store is a Store in memory. Set the fields before the first use; the zero
// value keeps 64 MiB.
//
// What gives way is chosen by SIEVE (Zhang and others, NSDI 2024): a hit only
// sets a mark, and a hand that moves from the oldest response to the newest
// takes out the first one without a mark and rubs out the others'. So a hit
// takes no lock that another hit wants, and a crawler that reads everything
// once drives out little that is wanted.
type Store struct {
	// MaxBytes is the budget for bodies, header fields, keys and what their
	// keeping costs, bodies that are being stored included. Zero or less means 64 MiB.
	// Apache: CacheSocache, there the size of the shared object cache.
	MaxBytes int64

	// MaxEntry is the largest response that is kept. Zero or less means a quarter of
	// MaxBytes. Apache: CacheSocacheMaxSize.
	MaxEntry int64

	once   sync.Once
	seed   maphash.Seed
	shards [shards]shard

	mu        sync.Mutex // guards what follows, and is taken before a shard's
	used      int64
	count     int64
	evictions int64
	newest    *entry // head of the list
	oldest    *entry
	hand      *entry // where the search for a victim goes on; nil: at the oldest
	tags      map[string][]tagged
}

// tagged is a response that has a tag.
type tagged struct {
	entry *entry
	which int // of its tags
}

const shards = 64

type shard struct {
	mu   sync.RWMutex
	keys map[string][]store.Entry // slices are never changed, but replaced

	_ [64 - 32]byte // a cache line of its own
}

func (s *Store) setup() {
	s.once.Do(func() {
		s.seed = maphash.MakeSeed()
		for i := range s.shards {
			s.shards[i].keys = make(map[string][]store.Entry)
		}
	})
}

func (s *Store) maxBytes() int64 {
	if s.MaxBytes > 0 {
		return s.MaxBytes
	}
	return 64 << 20
}

func (s *Store) maxEntry() int64 {
	if s.MaxEntry > 0 {
		return s.MaxEntry
	}
	return s.maxBytes() / 4
}

func (s *Store) shard(key string) *shard {
	return &s.shards[maphash.String(s.seed, key)%shards]
}

// Get implements Store.
func (s *Store) Get(_ context.Context, key string) ([]store.Entry, error) {
	s.setup()
	sh := s.shard(key)
	sh.mu.RLock()
	entries := sh.keys[key]
	sh.mu.RUnlock()
	if len(entries) == 1 { // of several, Open marks the one that is used
		entries[0].(*entry).mark()
	}
	return entries, nil
}

// Create implements Store.
func (s *Store) Create(_ context.Context, meta *store.Meta) (store.Writer, error) {
	s.setup()
	length := meta.Stored()
	if length > s.maxEntry() {
		return nil, store.ErrTooLarge
	}
	return &writer{store: s, expected: length}, nil
}

// Update implements Store.
func (s *Store) Update(_ context.Context, e store.Entry, meta *store.Meta) error {
	n := newEntry(meta) // who has the old one sees no change
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := current(e)
	if !ok || !old.linked {
		return nil
	}
	n.hold(old.chunks, old.size)
	n.used.Store(old.used.Load())
	s.untag(old)
	sh := s.shard(n.meta.Key)
	sh.mu.Lock()
	entries := n.alone[:]
	if all := sh.keys[n.meta.Key]; len(all) > 1 {
		entries = slices.Clone(all)
		entries[slices.Index(all, store.Entry(old))] = n
	}
	sh.keys[n.meta.Key] = entries
	sh.mu.Unlock()
	s.replace(old, n)
	s.tag(n)
	s.used += n.cost - old.cost
	s.makeRoom(0)
	return nil
}

// Remove implements Store.
func (s *Store) Remove(_ context.Context, e store.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if me, ok := current(e); ok {
		s.drop(me)
	}
	return nil
}

// Walk implements Store.
func (s *Store) Walk(ctx context.Context, f func(store.Entry) bool) error {
	s.setup()
	var batch []store.Entry
	for i := range s.shards {
		sh := &s.shards[i]
		batch = batch[:0]
		sh.mu.RLock()
		for _, entries := range sh.keys {
			batch = append(batch, entries...)
		}
		sh.mu.RUnlock()
		for _, e := range batch {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !f(e) {
				return nil
			}
		}
	}
	return nil
}

// Tagged implements [store.Tagged].
func (s *Store) Tagged(_ context.Context, tag string) ([]store.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.tags[tag]
	entries := make([]store.Entry, len(list))
	for i, o := range list {
		entries[i] = o.entry
	}
	return entries, nil
}

// Stats implements [store.Measured].
func (s *Store) Stats() store.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return store.Stats{Entries: s.count, Bytes: s.used, MaxBytes: s.maxBytes(), Evictions: s.evictions}
}

// Close does nothing, and returns nil: there is nothing to stop. With it, a store
// can be closed whatever it is.
func (s *Store) Close() error { return nil }

// reserve takes n bytes of the budget, if need be from others.
func (s *Store) reserve(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.makeRoom(n) {
		return store.ErrTooLarge
	}
	s.used += n
	return nil
}

func (s *Store) release(n int64) {
	s.mu.Lock()
	s.used -= n
	s.mu.Unlock()
}

// makeRoom takes responses out until n more bytes fit; s.mu is held.
func (s *Store) makeRoom(n int64) bool {
	for s.used+n > s.maxBytes() {
		victim := s.victim()
		if victim == nil {
			return false
		}
		s.drop(victim)
		s.evictions++
	}
	return true
}

// victim is the next response to give way; s.mu is held.
func (s *Store) victim() *entry {
	e := s.hand
	if e == nil {
		e = s.oldest
	}
	for e != nil && e.used.Swap(false) {
		if e = e.newer; e == nil {
			e = s.oldest // all were marked: now none is
		}
	}
	if e != nil {
		s.hand = e.newer
	}
	return e
}

// insert puts e in place of old; s.mu is held.
func (s *Store) insert(e *entry, old []store.Entry) {
	sh := s.shard(e.meta.Key)
	sh.mu.Lock()
	entries := e.alone[:1:1]
	for _, o := range sh.keys[e.meta.Key] { // others see either the old or the new
		if !supersedes(old, o) {
			entries = append(entries, o)
		}
	}
	sh.keys[e.meta.Key] = entries
	sh.mu.Unlock()
	e.linked = true
	if e.older = s.newest; e.older != nil {
		e.older.newer = e
	} else {
		s.oldest = e
	}
	s.newest = e
	s.count++
	s.tag(e)
	for _, o := range old {
		if me, ok := current(o); ok && me != e {
			s.drop(me)
		}
	}
}

// supersedes reports whether e is among the old ones.
func supersedes(old []store.Entry, e store.Entry) bool {
	for _, o := range old {
		if me, ok := current(o); ok && store.Entry(me) == e {
			return true
		}
	}
	return false
}

// replace puts n into the place of old in the list; s.mu is held.
func (s *Store) replace(old, n *entry) {
	n.newer, n.older, n.linked = old.newer, old.older, true
	if n.newer != nil {
		n.newer.older = n
	} else {
		s.newest = n
	}
	if n.older != nil {
		n.older.newer = n
	} else {
		s.oldest = n
	}
	if s.hand == old {
		s.hand = n
	}
	old.newer, old.older, old.linked = nil, nil, false
	old.updated = n
}

// drop takes e out; s.mu is held.
func (s *Store) drop(e *entry) {
	if !e.linked {
		return
	}
	e.linked = false
	sh := s.shard(e.meta.Key)
	sh.mu.Lock()
	if rest := without(sh.keys[e.meta.Key], e); len(rest) > 0 {
		sh.keys[e.meta.Key] = rest
	} else {
		delete(sh.keys, e.meta.Key)
	}
	sh.mu.Unlock()
	if s.hand == e {
		s.hand = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		s.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		s.oldest = e.newer
	}
	e.newer, e.older = nil, nil
	s.untag(e)
	s.used -= e.cost
	s.count--
}

// without returns the entries but e, in memory of its own.
func without(entries []store.Entry, e *entry) []store.Entry {
	rest := make([]store.Entry, 0, len(entries))
	for _, o := range entries {
		if o != store.Entry(e) {
			rest = append(rest, o)
		}
	}
	return rest
}

func (s *Store) tag(e *entry) {
	if len(e.meta.Tags) == 0 {
		return
	}
	if s.tags == nil {
		s.tags = make(map[string][]tagged)
	}
	e.tagged = make([]int, len(e.meta.Tags))
	for i, t := range e.meta.Tags {
		e.tagged[i] = len(s.tags[t])
		s.tags[t] = append(s.tags[t], tagged{e, i})
	}
}

func (s *Store) untag(e *entry) {
	for i, t := range e.meta.Tags {
		// The last one takes its place: a tag may have very many.
		list := s.tags[t]
		end := len(list) - 1
		last := list[end]
		list[e.tagged[i]] = last
		last.entry.tagged[last.which] = e.tagged[i]
		list[end] = tagged{}
		if end == 0 {
			delete(s.tags, t)
		} else {
			s.tags[t] = list[:end]
		}
	}
}
