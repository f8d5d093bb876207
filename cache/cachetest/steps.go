package cachetest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/modproxy/modproxy/cache/store"
)

// Steps that checks are made of.

// seedField is the response field that tells which body belongs to metadata.
const seedField = "X-Seed"

// newMeta makes metadata of a response whose body is content(seed, n).
func newMeta(key string, seed uint64, n int) *store.Meta {
	return &store.Meta{
		Key:    key,
		Status: http.StatusOK,
		Header: http.Header{
			seedField:        {strconv.FormatUint(seed, 10)},
			"Content-Length": {strconv.Itoa(n)},
		},
		RequestTime:  time.Unix(1_700_000_000, 5),
		ResponseTime: time.Unix(1_700_000_001, 7),
		Length:       int64(n),
	}
}

// content is the body of a seed. Nobody may change it.
func (k *kit) content(seed uint64, n int) []byte {
	at := int(seed * 61 % contentShift)
	return k.random[at : at+n : at+n]
}

// contentShift is the greatest distance of two contents.
const contentShift = 1 << 20

// randomBytes is what contents up to n bytes are parts of.
func randomBytes(n int) []byte {
	b := make([]byte, n+contentShift)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// put stores content(seed, n) under key in the place of old.
func (k *kit) put(key string, seed uint64, n int, old ...store.Entry) {
	k.putMeta(newMeta(key, seed, n), seed, n, old...)
}

func (k *kit) putMeta(meta *store.Meta, seed uint64, n int, old ...store.Entry) {
	w, err := k.store.Create(k.ctx, meta)
	k.must(err, "Create %.100q", meta.Key)
	k.write(w, k.content(seed, n))
	k.must(w.Commit(meta, old...), "Commit %.100q", meta.Key)
	w.Abort()
}

// write writes in pieces, from a buffer that is used again.
func (k *kit) write(w store.Writer, p []byte) {
	buf := make([]byte, min(len(p), 100_000))
	for len(p) > 0 {
		n := copy(buf, p)
		m, err := w.Write(buf[:n])
		k.must(err, "Write")
		if m != n {
			k.fail("Write: %d of %d bytes without an error", m, n)
		}
		clear(buf)
		p = p[n:]
	}
}

// get returns the entries under key, of which there must be n.
func (k *kit) get(key string, n int) []store.Entry {
	entries, err := k.store.Get(k.ctx, key)
	k.must(err, "Get %.100q", key)
	if len(entries) != n {
		k.fail("Get %.100q: %d entries, want %d", key, len(entries), n)
	}
	for _, e := range entries {
		if e.Meta().Key != key {
			k.fail("Get %.100q: an entry of %.100q", key, e.Meta().Key)
		}
	}
	return entries
}

// seedOf is the seed of an entry.
func (k *kit) seedOf(e store.Entry) uint64 {
	seed, err := strconv.ParseUint(e.Meta().Header.Get(seedField), 10, 64)
	k.must(err, "field %s of the metadata", seedField)
	return seed
}

// seeds are the seeds under key, in the order of Get.
func (k *kit) seeds(key string, want ...uint64) {
	var got []uint64
	for _, e := range k.get(key, len(want)) {
		got = append(got, k.seedOf(e))
	}
	if !slices.Equal(got, want) {
		k.fail("Get %q: seeds %v, want %v", key, got, want)
	}
}

// right reads the entry's body and compares all that is known of it.
func (k *kit) right(e store.Entry) {
	b, err := e.Open()
	k.must(err, "Open")
	defer b.Close()
	k.rightBody(e, b)
}

func (k *kit) rightBody(e store.Entry, b io.Reader) {
	got, err := io.ReadAll(b)
	k.must(err, "reading the body")
	k.same(e, got)
}

func (k *kit) same(e store.Entry, got []byte) {
	if length := e.Meta().Header.Get("Content-Length"); strconv.FormatInt(e.Size(), 10) != length {
		k.fail("Size is %d, want %s", e.Size(), length)
	}
	seed := k.seedOf(e)
	k.equal(fmt.Sprintf("body of seed %d", seed), got, k.content(seed, int(e.Size())))
}

func (k *kit) equal(what string, got, want []byte) {
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	k.fail("%s: %d bytes, want %d; they differ from byte %d on", what, len(got), len(want), at)
}

// walked are the seeds that Walk shows, in order of number.
func (k *kit) walked() []uint64 {
	var seeds []uint64
	k.must(k.store.Walk(k.ctx, func(e store.Entry) bool {
		seeds = append(seeds, k.seedOf(e))
		return true
	}), "Walk")
	slices.Sort(seeds)
	return seeds
}

func (k *kit) wantWalked(want ...uint64) {
	if got := k.walked(); !slices.Equal(got, want) {
		k.fail("Walk: seeds %v, want %v", got, want)
	}
}
