package tiered

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/modproxy/modproxy/cache/store"
)

// Store is a Store that keeps copies of what is used in front of a larger and
// slower one. Both fields must be set, and nobody else may change Back
// meanwhile: Front would not know.
//
//	Get ─► Front ─has all of the key─► its entries
//	         └─else─► Back's entries; one that is opened is copied to Front
//	Commit, Update, Remove ─► both
type Store struct {
	// Front is the quick store, such as a [memory.Store].
	Front store.Store

	// Back is the large one, such as a [disk.Store]. It has everything but what it
	// has let go.
	Back store.Store

	// MaxFront is the largest body that is copied to Front, in bytes. Zero
	// or less means 1 MiB.
	MaxFront int64

	once    sync.Once
	seed    maphash.Seed
	stripes [64]sync.Mutex // each held while something of its keys changes
}

var errNoTiers = errors.New("cache: Tiered needs Front and Back")

// ready returns an error if a field is not set.
func (t *Store) ready() error {
	if t.Front == nil || t.Back == nil {
		return errNoTiers
	}
	return nil
}

func (t *Store) maxFront() int64 {
	if t.MaxFront > 0 {
		return t.MaxFront
	}
	return 1 << 20
}

// lock makes changes to a key one after another.
func (t *Store) lock(key string) *sync.Mutex {
	t.once.Do(func() { t.seed = maphash.MakeSeed() })
	mu := &t.stripes[maphash.String(t.seed, key)%uint64(len(t.stripes))]
	mu.Lock()
	return mu
}

// Get implements Store. Front answers if it has as many variants as Back had.
func (t *Store) Get(ctx context.Context, key string) ([]store.Entry, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	if front, err := t.Front.Get(ctx, key); err == nil && len(front) > 0 && front[0].Meta().Siblings() == len(front) {
		return newestFirst(front), nil
	}
	back, err := t.Back.Get(ctx, key)
	if err != nil || len(back) == 0 {
		return nil, err
	}
	entries := make([]store.Entry, len(back))
	for i, e := range back {
		entries[i] = &backEntry{t, e}
	}
	return entries, nil
}

// newestFirst is entries, which came to Front in the order of their use.
func newestFirst(entries []store.Entry) []store.Entry {
	order := func(a, b store.Entry) int { return b.Meta().ResponseTime.Compare(a.Meta().ResponseTime) }
	if slices.IsSortedFunc(entries, order) {
		return entries
	}
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, order)
	return entries
}

// Create implements Store.
func (t *Store) Create(ctx context.Context, meta *store.Meta) (store.Writer, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	back, err := t.Back.Create(ctx, meta)
	if err != nil {
		return nil, err
	}
	w := &writer{Writer: back, t: t}
	if meta.Stored() <= t.maxFront() {
		w.front, _ = t.Front.Create(ctx, meta)
	}
	return w, nil
}

// Update implements Store. Front gets a new copy when it is used again.
func (t *Store) Update(ctx context.Context, e store.Entry, meta *store.Meta) error {
	if err := t.ready(); err != nil {
		return err
	}
	defer t.lock(meta.Key).Unlock()
	m := e.Meta()
	err := t.updateBack(ctx, e, meta)
	return errors.Join(err, t.forget(ctx, m.Key, m, meta), t.recount(ctx, m.Key))
}

// updateBack changes an entry in Back. Of one that is known from Front, another
// may have taken the place: that is left alone, but if this one is marked as
// invalid, it is too, since it may be the same one, freshened.
func (t *Store) updateBack(ctx context.Context, e store.Entry, meta *store.Meta) error {
	if b, ok := e.(*backEntry); ok {
		return t.Back.Update(ctx, b.Entry, meta)
	}
	m := e.Meta()
	all, err := t.Back.Get(ctx, m.Key)
	o := only(all, m)
	if err != nil || o == nil {
		return err
	}
	now := o.Meta()
	switch {
	case o.Size() == e.Size() && sameResponse(now, m):
	case meta.Invalid:
		meta = now.Clone()
		meta.Invalid = true
	default:
		return nil
	}
	return t.Back.Update(ctx, o, meta)
}

// Remove implements Store.
func (t *Store) Remove(ctx context.Context, e store.Entry) error {
	if err := t.ready(); err != nil {
		return err
	}
	m := e.Meta()
	defer t.lock(m.Key).Unlock()
	return errors.Join(t.forget(ctx, m.Key, m), t.removeBack(ctx, e), t.recount(ctx, m.Key))
}

// removeBack takes an entry out of Back. Of one that is known from Front, its
// variant is taken out, as it may have been freshened since.
func (t *Store) removeBack(ctx context.Context, e store.Entry) error {
	if b, ok := e.(*backEntry); ok {
		return t.Back.Remove(ctx, b.Entry)
	}
	m := e.Meta()
	all, err := t.Back.Get(ctx, m.Key)
	for _, o := range all {
		if sameVariant(o.Meta(), m) {
			err = errors.Join(err, t.Back.Remove(ctx, o))
		}
	}
	return err
}

// Walk implements Store.
func (t *Store) Walk(ctx context.Context, f func(store.Entry) bool) error {
	if err := t.ready(); err != nil {
		return err
	}
	seen, on := make(map[string][]*store.Meta), true
	err := t.Front.Walk(ctx, func(e store.Entry) bool {
		m := e.Meta()
		seen[m.Key] = append(seen[m.Key], m)
		on = f(e)
		return on
	})
	if err != nil || !on {
		return err
	}
	return t.Back.Walk(ctx, func(e store.Entry) bool {
		m := e.Meta()
		if slices.ContainsFunc(seen[m.Key], func(o *store.Meta) bool { return sameVariant(o, m) }) {
			return true
		}
		return f(&backEntry{t, e})
	})
}

// Tagged implements [store.Tagged].
func (t *Store) Tagged(ctx context.Context, tag string) (entries []store.Entry, err error) {
	front, frontOK := t.Front.(store.Tagged)
	back, backOK := t.Back.(store.Tagged)
	if !frontOK || !backOK {
		err = t.Walk(ctx, func(e store.Entry) bool {
			if slices.Contains(e.Meta().Tags, tag) {
				entries = append(entries, e)
			}
			return true
		})
		return entries, err
	}
	entries, err = front.Tagged(ctx, tag)
	if err != nil {
		return nil, err
	}
	copies := make(map[string][]*store.Meta)
	for _, e := range entries {
		m := e.Meta()
		copies[m.Key] = append(copies[m.Key], m)
	}
	more, err := back.Tagged(ctx, tag)
	for _, e := range more {
		m := e.Meta()
		if !slices.ContainsFunc(copies[m.Key], func(o *store.Meta) bool { return sameVariant(o, m) }) {
			entries = append(entries, &backEntry{t, e})
		}
	}
	return entries, err
}

// Stats implements [store.Measured]: Back's figures.
func (t *Store) Stats() store.Stats {
	if m, ok := t.Back.(store.Measured); ok {
		return m.Stats()
	}
	return store.Stats{}
}

// only returns the entry of m's variant if there is exactly one, else nil. It is
// what a copy in Front stands for.
func only(entries []store.Entry, m *store.Meta) (one store.Entry) {
	for _, e := range entries {
		if sameVariant(e.Meta(), m) {
			if one != nil {
				return nil
			}
			one = e
		}
	}
	return one
}

func sameVariant(a, b *store.Meta) bool {
	return maps.EqualFunc(a.Vary, b.Vary, slices.Equal[[]string])
}

// sameResponse reports whether two entries are one response.
func sameResponse(a, b *store.Meta) bool {
	return a.Status == b.Status && a.Length == b.Length && a.Invalid == b.Invalid &&
		a.RequestTime.Equal(b.RequestTime) && a.ResponseTime.Equal(b.ResponseTime) &&
		slices.Equal(a.Parts, b.Parts) && sameVariant(a, b) && maps.EqualFunc(a.Header, b.Header, slices.Equal[[]string])
}

// forget takes the variants of metas out of Front.
func (t *Store) forget(ctx context.Context, key string, metas ...*store.Meta) error {
	all, err := t.Front.Get(ctx, key)
	for _, e := range all {
		if slices.ContainsFunc(metas, func(m *store.Meta) bool { return sameVariant(e.Meta(), m) }) {
			err = errors.Join(err, t.Front.Remove(ctx, e))
		}
	}
	return err
}

// recount tells Front how many responses Back has under a key.
func (t *Store) recount(ctx context.Context, key string) error {
	front, err := t.Front.Get(ctx, key)
	if err != nil || len(front) == 0 {
		return err
	}
	back, err := t.Back.Get(ctx, key)
	for _, e := range front {
		m := e.Meta()
		if err != nil {
			err = errors.Join(err, t.Front.Remove(ctx, e))
		} else if m.Siblings() != len(back) {
			m = m.Clone()
			m.SetSiblings(len(back))
			err = t.Front.Update(ctx, e, m)
		}
	}
	return err
}

// promote copies an entry of Back to Front and opens the copy; nil if it may
// not, or could not.
func (t *Store) promote(e store.Entry) store.Body {
	ctx, m := context.Background(), e.Meta()
	defer t.lock(m.Key).Unlock()
	back, err := t.Back.Get(ctx, m.Key)
	if err != nil {
		return nil
	}
	if o := only(back, m); o == nil || o.Size() != e.Size() || !sameResponse(o.Meta(), m) { // changed meanwhile
		return nil
	}
	if front, err := t.Front.Get(ctx, m.Key); err != nil {
		return nil
	} else if only(front, m) == nil {
		if err := t.copy(ctx, e, len(back)); err != nil {
			return nil
		}
		_ = t.recount(ctx, m.Key)
	}
	front, err := t.Front.Get(ctx, m.Key)
	if err != nil {
		return nil
	}
	if one := only(front, m); one != nil && sameResponse(one.Meta(), m) {
		if body, err := one.Open(); err == nil {
			return body
		}
	}
	return nil
}

func (t *Store) copy(ctx context.Context, e store.Entry, siblings int) error {
	body, err := e.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	m := e.Meta().Clone()
	m.SetSiblings(siblings)
	w, err := t.Front.Create(ctx, m)
	if err != nil {
		return err
	}
	defer w.Abort()
	n, err := io.Copy(w, struct{ io.Reader }{body})
	if err == nil && n != e.Size() {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return w.Commit(m)
}

// backEntry is an entry of Back, of which Front may get a copy.
type backEntry struct {
	t *Store
	store.Entry
}

func (e *backEntry) Open() (store.Body, error) {
	if e.Size() <= e.t.maxFront() {
		if body := e.t.promote(e.Entry); body != nil {
			return body, nil
		}
	}
	return e.Entry.Open()
}

// writer writes to both stores. Back's result counts.
type writer struct {
	store.Writer
	t     *Store
	front store.Writer // nil: not for Front
	n     int64
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n += int64(n)
	if w.front == nil {
		return n, err
	}
	ferr := err
	if w.n > w.t.maxFront() {
		ferr = store.ErrTooLarge
	}
	if ferr == nil {
		_, ferr = w.front.Write(p[:n])
	}
	if ferr != nil {
		w.front.Abort()
		w.front = nil
	}
	return n, err
}

func (w *writer) Commit(meta *store.Meta, old ...store.Entry) error {
	t, ctx := w.t, context.Background()
	defer t.lock(meta.Key).Unlock()
	defer w.abortFront()
	gone := []*store.Meta{meta}
	var backs []store.Entry
	for _, e := range old {
		m := e.Meta()
		gone = append(gone, m)
		if b, ok := e.(*backEntry); ok {
			backs = append(backs, b.Entry)
			continue
		}
		all, _ := t.Back.Get(ctx, m.Key)
		for _, o := range all {
			if sameVariant(o.Meta(), m) {
				backs = append(backs, o)
			}
		}
	}
	if err := w.Writer.Commit(meta, backs...); err != nil {
		return err
	}
	_ = t.forget(ctx, meta.Key, gone...)
	back, err := t.Back.Get(ctx, meta.Key)
	if w.front != nil && err == nil && only(back, meta) != nil {
		m := meta.Clone()
		m.SetSiblings(len(back))
		_ = w.front.Commit(m)
	}
	_ = t.recount(ctx, meta.Key)
	return nil
}

func (w *writer) abortFront() {
	if w.front != nil {
		w.front.Abort()
	}
}

func (w *writer) Abort() {
	w.abortFront()
	w.Writer.Abort()
}

// Close closes Front and Back, if they can be closed.
func (t *Store) Close() error {
	var errs []error
	for _, s := range []store.Store{t.Front, t.Back} {
		if c, ok := s.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
