package cachetest

import (
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/modproxy/modproxy/cache/store"
)

// Checks of what changes.

func unseen(k *kit) {
	const key = "http://example.org/"
	k.put(key, 1, 1000)
	meta := newMeta(key, 2, 100_000)
	w, err := k.store.Create(k.ctx, meta)
	k.must(err, "Create")
	other, err := k.store.Create(k.ctx, newMeta(key+"other", 3, 10))
	k.must(err, "Create")
	k.write(w, k.content(2, 100_000))
	k.write(other, k.content(3, 10))
	k.seeds(key, 1)
	k.get(key+"other", 0)
	k.wantWalked(1)
	k.must(w.Commit(meta), "Commit")
	k.seeds(key, 2, 1)
	k.wantWalked(1, 2)
	other.Abort()
	k.get(key+"other", 0)
	k.wantWalked(1, 2)
}

func abort(k *kit) {
	const key = "http://example.org/"
	k.put(key, 1, 1000)
	for _, n := range sizes {
		w, err := k.store.Create(k.ctx, newMeta(key, 2, n))
		k.must(err, "Create")
		k.write(w, k.content(2, n))
		w.Abort()
		w.Abort()
	}
	k.seeds(key, 1)
	w, err := k.store.Create(k.ctx, newMeta(key, 3, 0))
	k.must(err, "Create")
	w.Abort()
	if err := w.Commit(newMeta(key, 3, 0)); err == nil {
		k.fail("Commit after Abort is no error")
	}
	k.seeds(key, 1)

	meta := newMeta(key, 4, 1000)
	w, err = k.store.Create(k.ctx, meta)
	k.must(err, "Create")
	k.write(w, k.content(4, 1000))
	k.must(w.Commit(meta), "Commit")
	w.Abort()
	w.Abort()
	k.seeds(key, 4, 1)
	for _, e := range k.get(key, 2) {
		k.right(e)
	}
}

func replace(k *kit) {
	const key = "http://example.org/"
	for seed := range uint64(6) {
		k.put(key, seed, 2000)
	}
	e := k.get(key, 6) // 5 4 3 2 1 0
	k.put(key, 6, 3000, e[1])
	k.seeds(key, 6, 5, 3, 2, 1, 0)
	k.put(key, 7, 40_000, e[0], e[2], e[3])
	k.seeds(key, 7, 6, 1, 0)
	// Entries that are gone already, and one twice.
	k.put(key, 8, 10, e[1], e[5], e[5], e[0])
	k.seeds(key, 8, 7, 6, 1)
	for _, e := range k.get(key, 4) {
		k.right(e)
	}
	k.wantWalked(1, 6, 7, 8)
	// An update makes no other entry of it.
	last := k.get(key, 4)[3]
	meta := newMeta(key, 1, 2000)
	meta.Invalid = true
	k.must(k.store.Update(k.ctx, last, meta), "Update")
	k.put(key, 9, 10, last)
	k.seeds(key, 9, 8, 7, 6)
}

// noGap: whoever looks sees the old or the new.
func noGap(k *kit) {
	const key = "http://example.org/"
	k.put(key, 0, 100)
	var done atomic.Bool
	look := func() {
		for !done.Load() {
			entries, err := k.store.Get(k.ctx, key)
			k.must(err, "Get")
			if len(entries) == 0 {
				k.fail("neither the old nor the new is there")
			}
		}
	}
	k.together(look, look, func() {
		defer done.Store(true)
		for seed := range uint64(k.claims.Rounds) {
			k.put(key, seed, 100, k.get(key, 1)...)
		}
	})
}

func update(k *kit) {
	for i, n := range sizes {
		key := fmt.Sprintf("http://example.org/%d", n)
		k.put(key, uint64(i), n)
		k.put(key, 1000, 10)
		e := k.get(key, 2)[1]
		had := e.Meta()
		before := had.Clone()
		b, err := e.Open()
		k.must(err, "Open")

		meta := newMeta(key, uint64(i), n)
		meta.Invalid = true
		meta.Header.Set("Etag", `"new"`)
		meta.Tags = []string{"tag"}
		want := meta.Clone()
		k.must(k.store.Update(k.ctx, e, meta), "Update")

		k.sameMeta(had, before) // somebody may be reading it
		k.rightBody(e, b)
		b.Close()
		for _, now := range k.get(key, 2) {
			k.right(now)
			if k.seedOf(now) == uint64(i) {
				k.sameMeta(now.Meta(), want)
			}
		}
		// The older entry stands for the same response.
		again := want.Clone()
		again.Header.Set("Etag", `"newer"`)
		k.must(k.store.Update(k.ctx, e, again), "Update")
		found := slices.ContainsFunc(k.get(key, 2), func(e store.Entry) bool {
			return e.Meta().Header.Get("Etag") == `"newer"`
		})
		if !found {
			k.fail("a second Update of the same entry had no effect")
		}
	}
	const key = "http://example.org/gone"
	k.put(key, 1, 10)
	e := k.get(key, 1)[0]
	k.must(k.store.Remove(k.ctx, e), "Remove")
	k.must(k.store.Update(k.ctx, e, newMeta(key, 1, 10)), "Update of an entry that is gone")
	k.get(key, 0)
}

func remove(k *kit) {
	const key = "http://example.org/"
	k.put(key, 1, 10)
	k.put(key, 2, 100_000)
	e := k.get(key, 2)
	k.must(k.store.Remove(k.ctx, e[0]), "Remove")
	k.seeds(key, 1)
	k.must(k.store.Remove(k.ctx, e[0]), "Remove again")
	k.seeds(key, 1)
	k.must(k.store.Remove(k.ctx, e[1]), "Remove")
	k.get(key, 0)
	k.wantWalked()
	// What is gone cannot be opened, or is what it was.
	for _, e := range e {
		if b, err := e.Open(); err == nil {
			k.rightBody(e, b)
			b.Close()
		}
	}
	// The key can be used again, and the old entries do not stand for the new.
	k.put(key, 3, 10)
	k.must(k.store.Remove(k.ctx, e[1]), "Remove again")
	k.must(k.store.Update(k.ctx, e[1], e[1].Meta()), "Update of an entry that is gone")
	k.seeds(key, 3)
	k.right(k.get(key, 1)[0])
}

func openBodies(k *kit) {
	type reader struct {
		entry store.Entry
		body  store.Body
		part  []byte
	}
	var readers []reader
	open := func(e store.Entry) {
		b, err := e.Open()
		k.must(err, "Open")
		part := make([]byte, e.Size()/2)
		_, err = io.ReadFull(b, part)
		k.must(err, "reading half")
		readers = append(readers, reader{e, b, part})
	}
	for i, n := range append([]int{k.claims.BigBody}, sizes...) {
		key := fmt.Sprintf("http://example.org/%d", i)
		k.put(key, uint64(i), n)
		e := k.get(key, 1)[0]
		open(e)
		open(e)
		if i%2 == 0 {
			k.must(k.store.Remove(k.ctx, e), "Remove")
			k.get(key, 0)
		} else {
			k.put(key, 1000, 100, e)
			k.seeds(key, 1000)
		}
	}
	for _, r := range readers {
		rest, err := io.ReadAll(r.body)
		k.must(err, "reading on after the entry was removed")
		k.same(r.entry, append(r.part, rest...))
		k.must(r.body.Close(), "Close of a body")
	}
}

func walk(k *kit) {
	var want []uint64
	for seed := range uint64(100) {
		k.put(fmt.Sprintf("http://example.org/%d", seed/2), seed, int(seed)*10)
		want = append(want, seed)
	}
	k.wantWalked(want...)
	k.must(k.store.Walk(k.ctx, func(e store.Entry) bool {
		if fmt.Sprintf("http://example.org/%d", k.seedOf(e)/2) != e.Meta().Key {
			k.fail("Walk: an entry with another key")
		}
		k.right(e)
		return true
	}), "Walk")
	n := 0
	k.must(k.store.Walk(k.ctx, func(store.Entry) bool { n++; return n < 7 }), "Walk")
	if n != 7 {
		k.fail("Walk called f %d times, want 7: f returned false then", n)
	}
}

// walkAndChange uses the store within Walk.
func walkAndChange(k *kit) {
	var want []uint64
	for seed := range uint64(100) {
		k.put(fmt.Sprintf("http://example.org/%d", seed), seed, 100)
	}
	seen := map[uint64]int{}
	k.must(k.store.Walk(k.ctx, func(e store.Entry) bool {
		seed := k.seedOf(e)
		seen[seed]++
		switch seed % 3 {
		case 0:
			k.must(k.store.Remove(k.ctx, e), "Remove")
		case 1:
			meta := e.Meta().Clone()
			meta.Invalid = true
			k.must(k.store.Update(k.ctx, e, meta), "Update")
		default:
			k.get(e.Meta().Key, 1)
		}
		return true
	}), "Walk")
	for seed := range uint64(100) {
		if seen[seed] != 1 {
			k.fail("Walk showed seed %d %d times", seed, seen[seed])
		}
		if seed%3 == 0 {
			k.get(fmt.Sprintf("http://example.org/%d", seed), 0)
			continue
		}
		want = append(want, seed)
		e := k.get(fmt.Sprintf("http://example.org/%d", seed), 1)[0]
		if e.Meta().Invalid != (seed%3 == 1) {
			k.fail("Update within Walk was lost")
		}
	}
	k.wantWalked(want...)
}

// closedBodies: what is done to a closed body reaches no other.
func closedBodies(k *kit) {
	for i, n := range []int{100, 100_000, 1 << 20} {
		key := fmt.Sprintf("http://example.org/%d", n)
		k.put(key, uint64(i), n)
		e := k.get(key, 1)[0]
		for range 3 {
			a, err := e.Open()
			k.must(err, "Open")
			k.rightBody(e, a)
			k.must(a.Close(), "Close of a body")
			b, err := e.Open()
			k.must(err, "Open")
			a.Seek(50, io.SeekStart)
			a.Read(make([]byte, 10))
			a.Close()
			k.rightBody(e, b)
			k.must(b.Close(), "Close of a body")
		}
	}
}

func reopen(k *kit) {
	if k.claims.Reopen == nil {
		return
	}
	const key = "http://example.org/"
	for i, n := range sizes {
		k.put(fmt.Sprint(key, i), uint64(i), n)
	}
	k.put(key, 100, 10)
	k.put(key, 101, 100_000, k.get(key, 1)...)
	k.put(key, 102, 10)
	k.put(key+"gone", 103, 10)
	k.must(k.store.Remove(k.ctx, k.get(key+"gone", 1)[0]), "Remove")
	meta := newMeta(key, 102, 10)
	meta.Invalid = true
	k.must(k.store.Update(k.ctx, k.get(key, 2)[0], meta), "Update")
	w, err := k.store.Create(k.ctx, newMeta(key, 104, 10))
	k.must(err, "Create")
	k.write(w, k.content(104, 10))

	k.close()
	next, err := k.claims.Reopen(k.store)
	k.must(err, "Reopen")
	w.Abort()
	k.store = next
	for i := range sizes {
		k.right(k.get(fmt.Sprint(key, i), 1)[0])
	}
	k.seeds(key, 102, 101)
	entries := k.get(key, 2)
	k.sameMeta(entries[0].Meta(), meta)
	for _, e := range entries {
		k.right(e)
	}
	k.get(key+"gone", 0)
	k.put(key, 105, 10, entries...)
	k.seeds(key, 105)
	if got, want := len(k.walked()), len(sizes)+1; got != want {
		k.fail("Walk after reopening: %d entries, want %d", got, want)
	}
}
