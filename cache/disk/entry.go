package disk

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/modproxy/modproxy/cache/store"
)

// smallBody is the greatest length of a body that is read into memory whole
// and checked on each opening: one system call, less than it takes to look
// whether an open file has changed.
const smallBody = 32 << 10

// entry is an entry with its metadata. The metadata never changes; Update
// makes another entry with the same body.
type entry struct {
	disk *Store
	name entryName
	meta *store.Meta
	body *bodyFile
	cost int // about how much memory the metadata takes

	self [1]store.Entry // what Get returns when there is no other

	up, down *entry // neighbours among the hot; guarded by the shard's lock
}

// bodyFile is the file of a body.
type bodyFile struct {
	bodySums

	// Guarded by the shard's lock.
	hot   bool       // an entry with this body is hot
	idle  []*os.File // open, for the next readers
	whole fileStamp  // the file as it was when all of it was seen to be right
	seen  seenBlocks
}

// seenBlocks are the blocks of a file that were seen to be right.
type seenBlocks struct {
	stamp fileStamp
	bits  []uint64
	left  int
}

// newEntry returns an entry whose metadata takes size bytes on the disk.
func newEntry(d *Store, n entryName, meta *store.Meta, body *bodyFile, size int) *entry {
	e := &entry{disk: d, name: n, meta: meta, body: body, cost: hotCost(size)}
	e.self[0] = e
	return e
}

func (e *entry) Meta() *store.Meta { return e.meta }
func (e *entry) Size() int64       { return e.body.size }

// Open returns the body. Wrong bytes are never read from it: a body that was
// not yet seen whole since the start, or has changed on the disk since, is
// checked while it is read. An entry that is gone is fs.ErrNotExist, one that
// is not what was stored ErrDamaged; either is removed.
func (e *entry) Open() (store.Body, error) {
	if e.body.size <= smallBody {
		return e.openSmall()
	}
	f, stamp, err := e.openFile()
	if err != nil {
		return nil, err
	}
	s := e.disk.shard(e.name.hash)
	s.mu.Lock()
	whole := e.body.whole == stamp
	s.mu.Unlock()
	if whole {
		return &fileBody{entry: e, file: f}, nil
	}
	return newCheckedBody(e, f, stamp), nil
}

// take returns an open file of the body, which may be anywhere in it.
func (e *entry) take() (f *os.File, pooled bool, err error) {
	d := e.disk
	s := d.shard(e.name.hash)
	s.mu.Lock()
	touch := false
	if at := s.find(e.name); at != none {
		touch = s.touch(at, time.Now())
	}
	f = s.hot.take(e.body)
	s.mu.Unlock()
	if touch {
		d.touch(e.name)
	}
	if f != nil {
		return f, true, nil
	}
	f, err = d.open(d.layout.body(e.name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.drop(e.name)
	case err != nil:
		d.fault("open", err)
	}
	return f, false, err
}

// give takes a file back.
func (e *entry) give(f *os.File) {
	s := e.disk.shard(e.name.hash)
	s.mu.Lock()
	idle := s.hot.keep(e.body, f)
	s.mu.Unlock()
	closeAll(idle)
}

// openFile returns a file at its beginning, and its stamp. Its length is right.
func (e *entry) openFile() (*os.File, fileStamp, error) {
	for {
		f, pooled, err := e.take()
		if err != nil {
			return nil, fileStamp{}, fmt.Errorf("cache: body: %w", err)
		}
		stamp, err := stampOf(f)
		if err == nil && pooled && !stamp.gone {
			_, err = f.Seek(0, 0)
		}
		switch {
		case err != nil:
			f.Close()
			return nil, stamp, fmt.Errorf("cache: body: %w", err)
		case stamp.gone && pooled:
			f.Close() // another process removed it; or put another in its place
			continue
		case stamp.size != e.body.size:
			f.Close()
			return nil, stamp, e.damaged("length of body")
		}
		return f, stamp, nil
	}
}

// damaged removes the entry and says why.
func (e *entry) damaged(what string) error {
	e.disk.log().Warn("cache: a stored response is damaged and was removed",
		"error", what, "file", e.disk.layout.body(e.name))
	e.disk.drop(e.name)
	return fmt.Errorf("%w: %s", store.ErrDamaged, what)
}

// smallBuffers are for bodies that are read whole.
var smallBuffers = sync.Pool{New: func() any { return new([smallBody]byte) }}

func (e *entry) openSmall() (store.Body, error) {
	if e.body.size == 0 {
		return &smallReader{buf: smallBuffers.Get().(*[smallBody]byte)}, nil
	}
	f, _, err := e.take()
	if err != nil {
		return nil, fmt.Errorf("cache: body: %w", err)
	}
	buf := smallBuffers.Get().(*[smallBody]byte)
	p := buf[:e.body.size]
	n, err := f.ReadAt(p, 0)
	if n < len(p) || crc32.Checksum(p, castagnoli) != e.body.sums[0] {
		smallBuffers.Put(buf)
		f.Close()
		if n < len(p) && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("cache: body: %w", err)
		}
		return nil, e.damaged("body")
	}
	e.give(f)
	return &smallReader{buf: buf, size: len(p)}, nil
}
