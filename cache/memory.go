package cache

import (
	"context"
	"hash/maphash"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
)

// Memory is a Store in memory. Set the fields before the first use; the zero
// value keeps 64 MiB.
//
// What gives way is chosen by SIEVE (Zhang and others, NSDI 2024): a hit only
// sets a mark, and a hand that moves from the oldest response to the newest
// takes out the first one without a mark and rubs out the others'. So a hit
// takes no lock that another hit wants, and a crawler that reads everything
// once drives out little that is wanted.
type Memory struct {
	// MaxBytes is the budget for bodies, header fields, keys and what their
	// keeping costs, bodies that are being stored included. Zero means 64 MiB.
	// Apache: CacheSocache, there the size of the shared object cache.
	MaxBytes int64

	// MaxEntry is the largest response that is kept. Zero means a quarter of
	// MaxBytes. Apache: CacheSocacheMaxSize.
	MaxEntry int64

	once   sync.Once
	seed   maphash.Seed
	shards [memoryShards]memoryShard

	mu        sync.Mutex // guards what follows, and is taken before a shard's
	used      int64
	count     int64
	evictions int64
	newest    *memoryRecord // head of the list
	oldest    *memoryRecord
	hand      *memoryRecord // where the search for a victim goes on; nil: at the oldest
	tags      map[string][]*memoryRecord
}

const memoryShards = 64

type memoryShard struct {
	mu   sync.RWMutex
	keys map[string][]Entry // slices are never changed, but replaced

	_ [64 - 32]byte // a cache line of its own
}

func (s *Memory) setup() {
	s.once.Do(func() {
		s.seed = maphash.MakeSeed()
		for i := range s.shards {
			s.shards[i].keys = make(map[string][]Entry)
		}
	})
}

func (s *Memory) maxBytes() int64 {
	if s.MaxBytes > 0 {
		return s.MaxBytes
	}
	return 64 << 20
}

func (s *Memory) maxEntry() int64 {
	if s.MaxEntry > 0 {
		return s.MaxEntry
	}
	return s.maxBytes() / 4
}

func (s *Memory) shard(key string) *memoryShard {
	return &s.shards[maphash.String(s.seed, key)%memoryShards]
}

// Get implements Store.
func (s *Memory) Get(_ context.Context, key string) ([]Entry, error) {
	s.setup()
	sh := s.shard(key)
	sh.mu.RLock()
	entries := sh.keys[key]
	sh.mu.RUnlock()
	if len(entries) == 1 { // of several, Open marks the one that is used
		entries[0].(*memoryEntry).record.mark()
	}
	return entries, nil
}

// Create implements Store.
func (s *Memory) Create(_ context.Context, meta *Meta) (Writer, error) {
	s.setup()
	if meta.Length > s.maxEntry() {
		return nil, ErrTooLarge
	}
	return &memoryWriter{store: s, expected: meta.Length}, nil
}

// Update implements Store.
func (s *Memory) Update(_ context.Context, e Entry, meta *Meta) error {
	m := compact(meta)
	s.mu.Lock()
	defer s.mu.Unlock()
	me, ok := e.(*memoryEntry)
	if !ok || !me.record.linked {
		return nil
	}
	r := me.record
	s.untag(r)
	old := r.entry
	r.entry = &memoryEntry{r, m} // who has the old one sees no change
	sh := s.shard(m.Key)
	sh.mu.Lock()
	entries := slices.Clone(sh.keys[m.Key])
	for i := range entries {
		if entries[i] == Entry(old) {
			entries[i] = r.entry
		}
	}
	sh.keys[m.Key] = entries
	sh.mu.Unlock()
	s.tag(r)
	cost := memoryCost(m, r.size)
	s.used += cost - r.cost
	r.cost = cost
	s.makeRoom(0)
	return nil
}

// Remove implements Store.
func (s *Memory) Remove(_ context.Context, e Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if me, ok := e.(*memoryEntry); ok {
		s.drop(me.record)
	}
	return nil
}

// Walk implements Store.
func (s *Memory) Walk(ctx context.Context, f func(Entry) bool) error {
	s.setup()
	var batch []Entry
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

// Tagged implements [Tagged].
func (s *Memory) Tagged(_ context.Context, tag string) ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.tags[tag]
	entries := make([]Entry, len(list))
	for i, e := range list {
		entries[i] = e.entry
	}
	return entries, nil
}

// Stats implements [Measured].
func (s *Memory) Stats() StoreStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return StoreStats{Entries: s.count, Bytes: s.used, MaxBytes: s.maxBytes(), Evictions: s.evictions}
}

// reserve takes n bytes of the budget, if need be from others.
func (s *Memory) reserve(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.makeRoom(n) {
		return ErrTooLarge
	}
	s.used += n
	return nil
}

func (s *Memory) release(n int64) {
	s.mu.Lock()
	s.used -= n
	s.mu.Unlock()
}

// makeRoom takes responses out until n more bytes fit; s.mu is held.
func (s *Memory) makeRoom(n int64) bool {
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
func (s *Memory) victim() *memoryRecord {
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

// insert puts r in place of old; s.mu is held.
func (s *Memory) insert(r *memoryRecord, old []Entry) {
	key := r.entry.meta.Key
	sh := s.shard(key)
	sh.mu.Lock()
	entries := make([]Entry, 1, len(sh.keys[key])+1)
	entries[0] = r.entry
	for _, e := range sh.keys[key] { // others see either the old or the new
		if !supersedes(old, e) {
			entries = append(entries, e)
		}
	}
	sh.keys[key] = entries
	sh.mu.Unlock()
	r.linked = true
	if r.older = s.newest; r.older != nil {
		r.older.newer = r
	} else {
		s.oldest = r
	}
	s.newest = r
	s.count++
	s.tag(r)
	for _, e := range old {
		if me, ok := e.(*memoryEntry); ok && me.record != r {
			s.drop(me.record)
		}
	}
}

// supersedes reports whether e is among the old ones.
func supersedes(old []Entry, e Entry) bool {
	for _, o := range old {
		if me, ok := o.(*memoryEntry); ok && me.record == e.(*memoryEntry).record {
			return true
		}
	}
	return false
}

// drop takes r out; s.mu is held.
func (s *Memory) drop(r *memoryRecord) {
	if !r.linked {
		return
	}
	r.linked = false
	key := r.entry.meta.Key
	sh := s.shard(key)
	sh.mu.Lock()
	if rest := without(sh.keys[key], r); len(rest) > 0 {
		sh.keys[key] = rest
	} else {
		delete(sh.keys, key)
	}
	sh.mu.Unlock()
	if s.hand == r {
		s.hand = r.newer
	}
	if r.newer != nil {
		r.newer.older = r.older
	} else {
		s.newest = r.older
	}
	if r.older != nil {
		r.older.newer = r.newer
	} else {
		s.oldest = r.newer
	}
	r.newer, r.older = nil, nil
	s.untag(r)
	s.used -= r.cost
	s.count--
}

// without returns the entries but those of r, in memory of its own.
func without(entries []Entry, r *memoryRecord) []Entry {
	rest := make([]Entry, 0, len(entries))
	for _, e := range entries {
		if e.(*memoryEntry).record != r {
			rest = append(rest, e)
		}
	}
	return rest
}

func (s *Memory) tag(r *memoryRecord) {
	for _, t := range r.entry.meta.Tags {
		if s.tags == nil {
			s.tags = make(map[string][]*memoryRecord)
		}
		s.tags[t] = append(s.tags[t], r)
	}
}

func (s *Memory) untag(r *memoryRecord) {
	for _, t := range r.entry.meta.Tags {
		list := slices.DeleteFunc(s.tags[t], func(o *memoryRecord) bool { return o == r })
		if len(list) == 0 {
			delete(s.tags, t)
		} else {
			s.tags[t] = list
		}
	}
}

// memoryRecord is a stored response.
type memoryRecord struct {
	chunks [][]byte
	size   int64
	used   atomic.Bool // since the hand passed

	// Under the store's mu:
	entry        *memoryEntry
	newer, older *memoryRecord
	cost         int64
	linked       bool
}

func (r *memoryRecord) mark() {
	if !r.used.Load() { // a load leaves the cache line with all processors
		r.used.Store(true)
	}
}

// memoryEntry is a stored response with the metadata of one time.
type memoryEntry struct {
	record *memoryRecord
	meta   *Meta
}

func (e *memoryEntry) Meta() *Meta { return e.meta }
func (e *memoryEntry) Size() int64 { return e.record.size }

func (e *memoryEntry) Open() (Body, error) {
	e.record.mark()
	return &memoryBody{chunks: e.record.chunks, size: e.record.size}, nil
}

// memoryBody reads chunks without copying where it can.
type memoryBody struct {
	chunks [][]byte
	size   int64
	at     int64
	closed atomic.Bool
}

func (b *memoryBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, fs.ErrClosed
	}
	if b.at >= b.size {
		return 0, io.EOF
	}
	n := copyAt(p, b.chunks, b.at)
	b.at += int64(n)
	return n, nil
}

func (b *memoryBody) Seek(offset int64, whence int) (at int64, err error) {
	if b.closed.Load() {
		return 0, fs.ErrClosed
	}
	b.at, err = position(offset, whence, b.at, b.size)
	return b.at, err
}

// WriteTo hands the chunks themselves to w.
func (b *memoryBody) WriteTo(w io.Writer) (int64, error) { return b.writeSome(w, b.size-b.at) }

// writeSome writes at most n bytes, as WriteTo does.
func (b *memoryBody) writeSome(w io.Writer, n int64) (written int64, err error) {
	if b.closed.Load() {
		return 0, fs.ErrClosed
	}
	skip := b.at
	for _, c := range b.chunks {
		if skip >= int64(len(c)) {
			skip -= int64(len(c))
			continue
		}
		if written == n {
			break
		}
		c = c[skip:]
		skip = 0
		if int64(len(c)) > n-written {
			c = c[:n-written]
		}
		m, err := w.Write(c)
		written += int64(m)
		b.at += int64(m)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func (b *memoryBody) Close() error {
	if b.closed.Swap(true) {
		return fs.ErrClosed
	}
	return nil
}

// copyAt copies what chunks hold from offset at on.
func copyAt(p []byte, chunks [][]byte, at int64) (n int) {
	for _, c := range chunks {
		if at >= int64(len(c)) {
			at -= int64(len(c))
			continue
		}
		m := copy(p[n:], c[at:])
		n += m
		at = 0
		if n == len(p) {
			break
		}
	}
	return n
}
