package cache

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"maps"
	"slices"
	"sync"
)

// Tiered is a Store that keeps copies of what is used in front of a larger and
// slower one. Both fields must be set, and nobody else may change Back
// meanwhile: Front would not know.
//
//	Get ─► Front ─has all of the key─► its entries
//	         └─else─► Back's entries; one that is opened is copied to Front
//	Commit, Update, Remove ─► both
type Tiered struct {
	// Front is the quick store, such as a [Memory].
	Front Store

	// Back is the large one, such as a [Disk]. It has everything but what it
	// has let go.
	Back Store

	// MaxFront is the largest body that is copied to Front, in bytes. Zero
	// means 1 MiB.
	MaxFront int64

	once    sync.Once
	seed    maphash.Seed
	stripes [64]sync.Mutex // each held while something of its keys changes
}

var errNoTiers = errors.New("cache: Tiered needs Front and Back")

// ready returns an error if a field is not set.
func (t *Tiered) ready() error {
	if t.Front == nil || t.Back == nil {
		return errNoTiers
	}
	return nil
}

func (t *Tiered) maxFront() int64 {
	if t.MaxFront > 0 {
		return t.MaxFront
	}
	return 1 << 20
}

// lock makes changes to a key one after another.
func (t *Tiered) lock(key string) *sync.Mutex {
	t.once.Do(func() { t.seed = maphash.MakeSeed() })
	mu := &t.stripes[maphash.String(t.seed, key)%uint64(len(t.stripes))]
	mu.Lock()
	return mu
}

// Get implements Store. Front answers if it has as many variants as Back had.
func (t *Tiered) Get(ctx context.Context, key string) ([]Entry, error) {
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
	entries := make([]Entry, len(back))
	for i, e := range back {
		entries[i] = &backEntry{t, e}
	}
	return entries, nil
}

// newestFirst is entries, which came to Front in the order of their use.
func newestFirst(entries []Entry) []Entry {
	order := func(a, b Entry) int { return b.Meta().ResponseTime.Compare(a.Meta().ResponseTime) }
	if slices.IsSortedFunc(entries, order) {
		return entries
	}
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, order)
	return entries
}

// Create implements Store.
func (t *Tiered) Create(ctx context.Context, meta *Meta) (Writer, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	back, err := t.Back.Create(ctx, meta)
	if err != nil {
		return nil, err
	}
	w := &tieredWriter{Writer: back, t: t}
	if meta.Stored() <= t.maxFront() {
		w.front, _ = t.Front.Create(ctx, meta)
	}
	return w, nil
}

// Update implements Store. Front gets a new copy when it is used again.
func (t *Tiered) Update(ctx context.Context, e Entry, meta *Meta) error {
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
func (t *Tiered) updateBack(ctx context.Context, e Entry, meta *Meta) error {
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
func (t *Tiered) Remove(ctx context.Context, e Entry) error {
	if err := t.ready(); err != nil {
		return err
	}
	m := e.Meta()
	defer t.lock(m.Key).Unlock()
	return errors.Join(t.forget(ctx, m.Key, m), t.removeBack(ctx, e), t.recount(ctx, m.Key))
}

// removeBack takes an entry out of Back. Of one that is known from Front, its
// variant is taken out, as it may have been freshened since.
func (t *Tiered) removeBack(ctx context.Context, e Entry) error {
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
func (t *Tiered) Walk(ctx context.Context, f func(Entry) bool) error {
	if err := t.ready(); err != nil {
		return err
	}
	seen, on := make(map[string][]*Meta), true
	err := t.Front.Walk(ctx, func(e Entry) bool {
		m := e.Meta()
		seen[m.Key] = append(seen[m.Key], m)
		on = f(e)
		return on
	})
	if err != nil || !on {
		return err
	}
	return t.Back.Walk(ctx, func(e Entry) bool {
		m := e.Meta()
		if slices.ContainsFunc(seen[m.Key], func(o *Meta) bool { return sameVariant(o, m) }) {
			return true
		}
		return f(&backEntry{t, e})
	})
}

// Tagged implements [Tagged].
func (t *Tiered) Tagged(ctx context.Context, tag string) (entries []Entry, err error) {
	front, frontOK := t.Front.(Tagged)
	back, backOK := t.Back.(Tagged)
	if !frontOK || !backOK {
		err = t.Walk(ctx, func(e Entry) bool {
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
	copies := make(map[string][]*Meta)
	for _, e := range entries {
		m := e.Meta()
		copies[m.Key] = append(copies[m.Key], m)
	}
	more, err := back.Tagged(ctx, tag)
	for _, e := range more {
		m := e.Meta()
		if !slices.ContainsFunc(copies[m.Key], func(o *Meta) bool { return sameVariant(o, m) }) {
			entries = append(entries, &backEntry{t, e})
		}
	}
	return entries, err
}

// Stats implements [Measured]: Back's figures.
func (t *Tiered) Stats() StoreStats {
	if m, ok := t.Back.(Measured); ok {
		return m.Stats()
	}
	return StoreStats{}
}

// only returns the entry of m's variant if there is exactly one, else nil. It is
// what a copy in Front stands for.
func only(entries []Entry, m *Meta) (one Entry) {
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

func sameVariant(a, b *Meta) bool {
	return maps.EqualFunc(a.Vary, b.Vary, slices.Equal[[]string])
}

// sameResponse reports whether two entries are one response.
func sameResponse(a, b *Meta) bool {
	return a.Status == b.Status && a.Length == b.Length && a.Invalid == b.Invalid &&
		a.RequestTime.Equal(b.RequestTime) && a.ResponseTime.Equal(b.ResponseTime) &&
		slices.Equal(a.Parts, b.Parts) && sameVariant(a, b) && maps.EqualFunc(a.Header, b.Header, slices.Equal[[]string])
}

// forget takes the variants of metas out of Front.
func (t *Tiered) forget(ctx context.Context, key string, metas ...*Meta) error {
	all, err := t.Front.Get(ctx, key)
	for _, e := range all {
		if slices.ContainsFunc(metas, func(m *Meta) bool { return sameVariant(e.Meta(), m) }) {
			err = errors.Join(err, t.Front.Remove(ctx, e))
		}
	}
	return err
}

// recount tells Front how many responses Back has under a key.
func (t *Tiered) recount(ctx context.Context, key string) error {
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
func (t *Tiered) promote(e Entry) Body {
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

func (t *Tiered) copy(ctx context.Context, e Entry, siblings int) error {
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
	t *Tiered
	Entry
}

func (e *backEntry) Open() (Body, error) {
	if e.Size() <= e.t.maxFront() {
		if body := e.t.promote(e.Entry); body != nil {
			return body, nil
		}
	}
	return e.Entry.Open()
}

// tieredWriter writes to both stores. Back's result counts.
type tieredWriter struct {
	Writer
	t     *Tiered
	front Writer // nil: not for Front
	n     int64
}

func (w *tieredWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n += int64(n)
	if w.front == nil {
		return n, err
	}
	ferr := err
	if w.n > w.t.maxFront() {
		ferr = ErrTooLarge
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

func (w *tieredWriter) Commit(meta *Meta, old ...Entry) error {
	t, ctx := w.t, context.Background()
	defer t.lock(meta.Key).Unlock()
	defer w.abortFront()
	gone := []*Meta{meta}
	var backs []Entry
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

func (w *tieredWriter) abortFront() {
	if w.front != nil {
		w.front.Abort()
	}
}

func (w *tieredWriter) Abort() {
	w.abortFront()
	w.Writer.Abort()
}
