package disk

import (
	"slices"
	"sync"
)

// shards is how many parts the index has, each under a lock of its own.
const shards = 16

// blockSize is what room on a disk is counted in.
const blockSize = 4096

// none is the end of a list of records.
const none int32 = -1

// record is what the index knows of an entry. There are many: it holds no
// pointers, so the garbage collector need not look at them, and no keys.
type record struct {
	name                 entryName // id 0: not in use
	used                 int64     // when it was used last, in ns of Unix time
	blocks               uint32    // room its files take
	touched              uint32    // modification time of its metadata, Unix time
	changes              uint32    // how often the metadata was replaced
	next                 int32     // of the same key, from new to old; or next free record
	recentUp, recentDown int32     // neighbours by use
}

// shard is a part of the index, with the entries of it that are hot.
type shard struct {
	mu          sync.Mutex // guards all below
	heads       map[keyHash]int32
	records     []record
	free        int32
	first, last int32 // used last, used longest ago
	hot         hotEntries
	stuck       map[uint64]struct{} // entries that are out, though their files could not be removed
}

func (s *shard) init() {
	s.heads = map[keyHash]int32{}
	s.stuck = map[uint64]struct{}{}
	s.free, s.first, s.last = none, none, none
	s.hot.init()
}

// find returns the place of a name's record, or none.
func (s *shard) find(n entryName) int32 {
	at, ok := s.heads[n.hash]
	if !ok {
		return none
	}
	for at != none && s.records[at].name.id != n.id {
		at = s.records[at].next
	}
	return at
}

// insert adds a record. Those of a key are in the order of their ids.
func (s *shard) insert(r record) {
	at := s.free
	if at == none {
		at = int32(len(s.records))
		s.records = append(s.records, record{})
	} else {
		s.free = s.records[at].next
	}
	head, ok := s.heads[r.name.hash]
	if !ok {
		head = none
	}
	if head == none || s.records[head].name.id < r.name.id {
		r.next = head
		s.heads[r.name.hash] = at
	} else {
		before := head
		for s.records[before].next != none && s.records[s.records[before].next].name.id > r.name.id {
			before = s.records[before].next
		}
		r.next = s.records[before].next
		s.records[before].next = at
	}
	s.records[at] = r
	if s.first == none || s.records[s.first].used <= r.used {
		s.pushFirst(at)
	} else {
		s.pushLast(at)
	}
}

// remove takes a record out and returns it.
func (s *shard) remove(n entryName) (record, bool) {
	before, at := none, none
	if head, ok := s.heads[n.hash]; ok {
		at = head
	}
	for at != none && s.records[at].name.id != n.id {
		before, at = at, s.records[at].next
	}
	if at == none {
		return record{}, false
	}
	r := s.records[at]
	switch {
	case before != none:
		s.records[before].next = r.next
	case r.next != none:
		s.heads[n.hash] = r.next
	default:
		delete(s.heads, n.hash)
	}
	s.unlink(at)
	s.records[at] = record{next: s.free}
	s.free = at
	return r, true
}

// use makes a record the one that was used last.
func (s *shard) use(at int32, now int64) {
	s.records[at].used = now
	if s.first != at {
		s.unlink(at)
		s.pushFirst(at)
	}
}

func (s *shard) pushFirst(at int32) {
	r := &s.records[at]
	r.recentUp, r.recentDown = none, s.first
	if s.first != none {
		s.records[s.first].recentUp = at
	} else {
		s.last = at
	}
	s.first = at
}

func (s *shard) pushLast(at int32) {
	r := &s.records[at]
	r.recentUp, r.recentDown = s.last, none
	if s.last != none {
		s.records[s.last].recentDown = at
	} else {
		s.first = at
	}
	s.last = at
}

func (s *shard) unlink(at int32) {
	up, down := s.records[at].recentUp, s.records[at].recentDown
	if up != none {
		s.records[up].recentDown = down
	} else {
		s.first = down
	}
	if down != none {
		s.records[down].recentUp = up
	} else {
		s.last = up
	}
}

// sort puts the list of use in order, after many were inserted in any order.
func (s *shard) sort() {
	var order []int32
	for at := s.first; at != none; at = s.records[at].recentDown {
		order = append(order, at)
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		return int(min(1, max(-1, s.records[b].used-s.records[a].used)))
	})
	s.first, s.last = none, none
	for _, at := range order {
		s.pushLast(at)
	}
}
