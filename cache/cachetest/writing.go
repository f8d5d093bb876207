package cachetest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/cache/store"
)

// Checks of reading what is being written, and of all at once.

func readWhileWritten(k *kit) {
	for _, n := range []int{100, 50_000, 1_000_000} {
		want := k.content(1, n)
		meta := newMeta("http://example.org/", 1, n)
		w, err := k.store.Create(k.ctx, meta)
		k.must(err, "Create")
		early, err := w.Reader()
		k.must(err, "Reader")
		p := make([]byte, 10)
		if m, err := early.ReadAt(p, 0); m != 0 || err != io.EOF {
			k.fail("ReadAt before anything is written: %d bytes, error %v, want 0, EOF", m, err)
		}
		k.write(w, want[:n/2])
		for _, off := range []int{0, n / 4, n/2 - 1} {
			p := make([]byte, n/2-off)
			k.readAt(early, p, off, want[:n/2])
			k.readAt(early, p[:1], off, want[:n/2])
			// More than there is yet.
			p = make([]byte, n)
			m, err := early.ReadAt(p, int64(off))
			if m != n/2-off || err != io.EOF {
				k.fail("ReadAt of %d bytes at %d, with %d written: %d bytes, error %v, want EOF", n, off, n/2, m, err)
			}
			k.equal("what has been written so far", p[:m], want[off:n/2])
		}
		for _, off := range []int64{int64(n / 2), int64(n)} {
			if m, err := early.ReadAt(p, off); m != 0 || err != io.EOF {
				k.fail("ReadAt beyond what is written: %d bytes, error %v, want 0, EOF", m, err)
			}
		}
		late, err := w.Reader()
		k.must(err, "Reader")
		k.must(early.Close(), "Close of a Reader")
		k.readAt(late, make([]byte, n/2), 0, want)

		// Readers follow while it is written.
		var written atomic.Bool
		follow := func() {
			r := late
			var got []byte
			p := make([]byte, 8000)
			for {
				end := written.Load()
				m, err := r.ReadAt(p, int64(len(got)))
				got = append(got, p[:m]...)
				if err != nil && err != io.EOF {
					k.fail("ReadAt: %w", err)
				}
				if m == 0 && end {
					break
				}
				if m == 0 {
					time.Sleep(10 * time.Microsecond) // nothing tells when there is more
				}
			}
			k.equal("what was read while it was written", got, want)
		}
		k.together(follow, follow, func() {
			defer written.Store(true)
			for rest := want[n/2:]; len(rest) > 0; {
				m := min(1+rand.IntN(20_000), len(rest))
				k.write(w, rest[:m])
				rest = rest[m:]
			}
		})
		k.must(w.Commit(meta), "Commit")
		k.must(late.Close(), "Close of a Reader")
	}
}

func (k *kit) readAt(r io.ReaderAt, p []byte, off int, want []byte) {
	n, err := r.ReadAt(p, int64(off))
	if n != len(p) || err != nil && err != io.EOF {
		k.fail("ReadAt of %d bytes at %d: %d bytes, error %v", len(p), off, n, err)
	}
	k.equal("ReadAt", p, want[off:off+len(p)])
}

func readerOutlives(k *kit) {
	const key = "http://example.org/"
	for _, n := range []int{100, 50_000, 1_000_000} {
		want := k.content(1, n)
		p := make([]byte, n)
		ends := map[string]func(store.Writer, *store.Meta){
			"Commit": func(w store.Writer, m *store.Meta) { k.must(w.Commit(m), "Commit") },
			"Abort":  func(w store.Writer, _ *store.Meta) { w.Abort() },
			"Commit and Remove": func(w store.Writer, m *store.Meta) {
				k.must(w.Commit(m), "Commit")
				for _, e := range k.getAll(key) {
					k.must(k.store.Remove(k.ctx, e), "Remove")
				}
			},
		}
		for name, end := range ends {
			meta := newMeta(key, 1, n)
			w, err := k.store.Create(k.ctx, meta)
			k.must(err, "Create")
			k.write(w, want)
			r, err := w.Reader()
			k.must(err, "Reader")
			end(w, meta)
			for range 2 {
				m, err := r.ReadAt(p, 0)
				if m != n || err != nil && err != io.EOF {
					k.fail("ReadAt after %s: %d of %d bytes, error %v", name, m, n, err)
				}
				k.equal("ReadAt after "+name, p, want)
			}
			k.must(r.Close(), "Close of a Reader")
			if m, err := r.ReadAt(p, 0); err == nil {
				k.equal("ReadAt of a closed Reader", p[:m], want)
			}
		}
	}
}

func (k *kit) getAll(key string) []store.Entry {
	entries, err := k.store.Get(k.ctx, key)
	k.must(err, "Get")
	return entries
}

// concurrency does everything at once with few keys. Each body must be that of
// its metadata, each entry that of its key.
func concurrency(k *kit) {
	keys := []string{"http://example.org/a", "http://example.org/b", "http://example.org/c"}
	var seed atomic.Uint64
	var f []func()
	for i := range 8 {
		f = append(f, func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for range k.claims.Rounds {
				k.step(random, keys[random.IntN(len(keys))], &seed)
			}
		})
	}
	k.together(f...)

	// What is left is whole, and can be removed.
	for _, key := range keys {
		for _, e := range k.getAll(key) {
			k.right(e)
			k.must(k.store.Remove(k.ctx, e), "Remove")
		}
		k.get(key, 0)
	}
	k.wantWalked()
}

// step does one thing.
func (k *kit) step(random *rand.Rand, key string, seed *atomic.Uint64) {
	entries := k.getAll(key)
	for _, e := range entries {
		if e.Meta().Key != key {
			k.fail("Get %q: an entry of %q", key, e.Meta().Key)
		}
	}
	var some []store.Entry
	if len(entries) > 0 {
		some = entries[random.IntN(len(entries)):]
	}
	n := []int{0, 10, 1000, 40_000, 300_000}[random.IntN(5)]
	switch random.IntN(10) {
	case 0, 1:
		if len(entries) > 5 {
			some = entries
		}
		k.put(key, seed.Add(1), n, slices.Clone(some)...)
	case 2:
		w, err := k.store.Create(k.ctx, newMeta(key, 0, n))
		k.must(err, "Create")
		k.write(w, k.content(0, n))
		w.Abort()
	case 3:
		for _, e := range some {
			meta := e.Meta().Clone()
			meta.Header.Set("X-Updated", strconv.Itoa(random.Int()))
			k.must(k.store.Update(k.ctx, e, meta), "Update")
		}
	case 4:
		for _, e := range some {
			k.must(k.store.Remove(k.ctx, e), "Remove")
		}
	case 5:
		k.must(k.store.Walk(k.ctx, func(e store.Entry) bool {
			k.openIfThere(e)
			return random.IntN(10) > 0
		}), "Walk")
	default:
		for _, e := range some {
			k.openIfThere(e)
		}
	}
}

// openIfThere reads a body, unless the entry is gone by now.
func (k *kit) openIfThere(e store.Entry) {
	b, err := e.Open()
	if errors.Is(err, store.ErrDamaged) {
		k.fail("Open: %w", err)
	}
	if err != nil {
		return
	}
	defer b.Close()
	var got bytes.Buffer
	_, err = io.Copy(&got, b)
	k.must(err, "reading the body")
	k.same(e, got.Bytes())
}
