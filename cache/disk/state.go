package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/modproxy/modproxy/cache/store"
)

// What index, hot entries and files have in common is changed here.

// hotCost is about how much memory the metadata of a record of a size takes.
func hotCost(size int) int { return 3*size + 1024 }

// blocksOf is the room that two files take.
func blocksOf(meta, body int64) uint32 {
	return uint32((meta+blockSize-1)/blockSize + (body+blockSize-1)/blockSize)
}

// known reports whether there is a record of a name.
func (d *Store) known(n entryName) bool {
	s := d.shard(n.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(n) != none
}

// noteStuck keeps in mind whether the files of an entry that is out are still
// there, so that no scan takes it in again.
func (d *Store) noteStuck(n entryName, stuck bool) {
	s := d.shard(n.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if stuck {
		s.stuck[n.id] = struct{}{}
	} else {
		delete(s.stuck, n.id)
	}
}

func (d *Store) isStuck(n entryName) bool {
	s := d.shard(n.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, stuck := s.stuck[n.id]
	return stuck
}

// account notes records that were added or removed.
func (d *Store) account(n int64, blocks int64) {
	d.count.Add(n)
	d.used.Add(blocks * blockSize)
}

// swap makes an entry, whose metadata takes size bytes on the disk, the one
// that is found, in the place of its older metadata, and of the entry old. The
// leaf is locked.
func (d *Store) swap(e *entry, size int, old uint64) {
	now := time.Now()
	r := record{
		name:    e.name,
		used:    now.UnixNano(),
		touched: uint32(now.Unix()),
		blocks:  blocksOf(int64(size), e.body.size),
	}
	s := d.shard(e.name.hash)
	s.mu.Lock()
	if at := s.find(e.name); at != none {
		was := &s.records[at]
		d.account(0, int64(r.blocks)-int64(was.blocks))
		was.blocks, was.touched = r.blocks, r.touched
		was.changes++
		s.use(at, r.used)
	} else {
		d.account(1, int64(r.blocks))
		s.insert(r)
	}
	idle := s.hot.add(e)
	if old != 0 {
		idle = append(idle, d.forget(s, entryName{hash: e.name.hash, id: old})...)
	}
	s.mu.Unlock()
	closeAll(idle)
}

// forget takes an entry out of the index. The shard is locked.
func (d *Store) forget(s *shard, n entryName) []*os.File {
	if r, ok := s.remove(n); ok {
		d.account(-1, -int64(r.blocks))
	}
	return s.hot.drop(n.id)
}

// drop removes an entry.
func (d *Store) drop(n entryName) error {
	files := d.stripe(n.hash)
	files.Lock()
	defer files.Unlock()
	return d.removeLocked(n)
}

// removeLocked removes an entry. The leaf is locked.
func (d *Store) removeLocked(n entryName) error {
	s := d.shard(n.hash)
	s.mu.Lock()
	if at := s.find(n); at != none {
		n = s.records[at].name
	}
	idle := d.forget(s, n)
	s.mu.Unlock()
	closeAll(idle)
	return d.unlink(n)
}

// evict removes what was used longest ago until the limits are kept, and
// reports whether they are.
func (d *Store) evict() bool {
	for d.used.Load() > d.limit() || d.count.Load() > d.maxEntries() {
		n, ok := d.oldest()
		if !ok {
			return false
		}
		d.evicted.Add(1)
		if err := d.drop(n); err != nil {
			d.fault("remove", err)
		}
	}
	return true
}

// oldest returns the entry that was used longest ago.
func (d *Store) oldest() (n entryName, ok bool) {
	var used int64
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		if s.last != none {
			if r := &s.records[s.last]; !ok || r.used < used {
				n, used, ok = r.name, r.used, true
			}
		}
		s.mu.Unlock()
	}
	return n, ok
}

// entry returns the entry of a name, read from the disk unless it is hot, or
// nil if there is none. keep makes it hot.
func (d *Store) entry(n entryName, keep bool) *entry {
	s := d.shard(n.hash)
	for {
		s.mu.Lock()
		e := s.hot.byID[n.id]
		at := s.find(n)
		var changes uint32
		if at != none {
			changes = s.records[at].changes
		}
		if e != nil && keep {
			s.hot.use(e)
		}
		s.mu.Unlock()
		switch {
		case at == none:
			return nil
		case e != nil:
			return e
		}
		e, err := d.readEntry(n)
		if errors.Is(err, store.ErrDamaged) {
			d.log().Warn("cache: a stored response is damaged and was removed",
				"error", err, "file", d.layout.meta(n))
		}
		if errors.Is(err, store.ErrDamaged) || errors.Is(err, fs.ErrNotExist) {
			d.drop(n)
			return nil
		}
		if err != nil {
			d.fault("read", err)
			return nil
		}
		s.mu.Lock()
		at = s.find(n)
		if at == none || s.records[at].changes != changes {
			s.mu.Unlock()
			continue // removed or updated meanwhile
		}
		if hot := s.hot.byID[n.id]; hot != nil {
			e = hot
		} else if keep {
			idle := s.hot.add(e)
			s.mu.Unlock()
			closeAll(idle)
			return e
		}
		s.mu.Unlock()
		return e
	}
}

// readEntry reads the metadata of an entry.
func (d *Store) readEntry(n entryName) (*entry, error) {
	f, err := d.open(d.layout.meta(n))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := recordBuffers.Get().(*[]byte)
	defer recordBuffers.Put(buf)
	if cap(*buf) < blockSize {
		*buf = make([]byte, blockSize)
	}
	p := (*buf)[:cap(*buf)]
	size, err := f.Read(p)
	if err != nil && err != io.EOF {
		return nil, err
	}
	meta, body, err := parseRecord(p[:size], n.id)
	if err != nil {
		// There may be more of it.
		rest, err2 := io.ReadAll(f)
		if err2 != nil {
			return nil, err2
		}
		*buf = append(p[:size], rest...)
		size = len(*buf)
		meta, body, err = parseRecord(*buf, n.id)
	}
	if err == nil && hashKey(meta.Key) != n.hash {
		err = fmt.Errorf("%w: record of another key", store.ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	return newEntry(d, n, meta, &bodyFile{bodySums: body}, size), nil
}
