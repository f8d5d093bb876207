package memory

import (
	"net/http"
	"sync/atomic"

	"github.com/modproxy/modproxy/cache/store"
)

// entry is a stored response with the metadata of one time.
type entry struct {
	// What a hit reads is one piece of memory.
	alone  [1]store.Entry // itself: what is under the key, as long as that is all
	meta   store.Meta
	chunks [][]byte
	one    [1][]byte // room for chunks: most bodies are one
	size   int64
	used   atomic.Bool // since the hand passed

	// Under the store's mu:
	newer, older *entry
	updated      *entry // what has taken its place, with other metadata
	cost         int64
	tagged       []int // its places in the lists of its tags
	linked       bool
}

func newEntry(meta *store.Meta) *entry {
	e := new(entry)
	e.alone[0] = e
	e.meta.Compact(meta)
	return e
}

// hold gives the entry its body.
func (e *entry) hold(chunks [][]byte, size int64) {
	if e.chunks, e.size = chunks, size; len(chunks) == 1 {
		e.one[0] = chunks[0]
		e.chunks = e.one[:]
	}
	e.cost = cost(&e.meta, size)
}

// current returns what e is by now, if it is of a Memory; its store's mu is
// held.
func current(e store.Entry) (*entry, bool) {
	me, ok := e.(*entry)
	for ok && me.updated != nil {
		me = me.updated
	}
	return me, ok
}

func (e *entry) mark() {
	if !e.used.Load() { // a load leaves the cache line with all processors
		e.used.Store(true)
	}
}

func (e *entry) Meta() *store.Meta { return &e.meta }

func (e *entry) Size() int64 { return e.size }

func (e *entry) Open() (store.Body, error) {
	e.mark()
	return &body{chunks: e.chunks, size: e.size}, nil
}

// cost is about what a response costs in memory.
func cost(m *store.Meta, size int64) int64 {
	const (
		entry = 600 // an entry, facts, slices, its share of the key's shard
		field = 64  // a place in a map, which are never quite full, and its slice
		value = 16
		tag   = value + 24 // its place in the tag's list, and where that is
	)
	n := entry + size + int64(len(m.Key))
	for _, h := range []http.Header{m.Header, m.Trailer, m.Vary} {
		for name, values := range h {
			n += field + int64(len(name))
			for _, v := range values {
				n += value + int64(len(v))
			}
		}
	}
	for _, t := range m.Tags {
		n += tag + int64(len(t))
	}
	return n
}
