package disk

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Files without an owner are removed at once when no other process uses the
// directory, else when they are older than this. Where there are no locks,
// bodies must be older than a day.
const (
	orphanAge       = time.Minute
	orphanAgeNoLock = 24 * time.Hour
)

// keep is the goroutine of the store: it scans the directory at the start, and
// again and again when another process uses it too.
func (d *Store) keep() {
	defer close(d.stopped)
	d.scan()
	d.sort()
	if d.stopping() {
		close(d.ready)
		return
	}
	d.scanned.Store(true)
	d.loading.Lock()
	d.loaded = nil
	d.loading.Unlock()
	d.evict()
	close(d.ready)

	interval := d.Rescan
	if interval <= 0 {
		interval = 5 * time.Minute
	}
	tick := time.NewTicker(max(interval, leastRescan))
	defer tick.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-tick.C:
		}
		if !d.alone() {
			d.scan()
			d.compare()
			d.sort()
			d.evict()
		}
	}
}

// leastRescan is the least Rescan.
const leastRescan = 100 * time.Millisecond

func (d *Store) sort() {
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		s.sort()
		s.mu.Unlock()
	}
}

func (d *Store) stopping() bool {
	select {
	case <-d.stop:
		return true
	default:
		return false
	}
}

// join takes the shared lock by which processes that use the directory know of
// each other. Another may hold it alone, for a moment.
func (d *Store) join() {
	if !hasLocks {
		return
	}
	_ = os.MkdirAll(d.Root, 0o700)
	f, err := os.OpenFile(filepath.Join(d.Root, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return // nothing can be removed either
	}
	d.lockfd = f
	d.share()
}

// alone reports whether no other process uses the directory. Without locks
// nobody is alone.
func (d *Store) alone() bool {
	d.joined.Lock()
	defer d.joined.Unlock()
	if d.lockfd == nil && !d.closed.Load() {
		d.join()
	}
	if d.lockfd == nil {
		return false
	}
	// Whoever tries for the exclusive lock is without any for a moment. So one
	// tries at a time, and the directory's own lock tells whose turn it is.
	turn, err := os.Open(d.Root)
	if err != nil {
		return false
	}
	defer turn.Close()
	if !lockFile(turn, lockExclusive) {
		return false // there is another, who has it
	}
	alone := lockFile(d.lockfd, lockExclusive)
	d.share()
	return alone
}

// share takes the shared lock. Another process may have the other for a moment.
func (d *Store) share() {
	for range 100 {
		if lockFile(d.lockfd, lockShared) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// scan loads all leaves.
func (d *Store) scan() {
	if err := d.scanDir(d.Root, "", 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.fault("scan", err)
	}
}

// scanDir goes through a directory. digits are those of the names on the way;
// level is how many there were, or -1 where the layout has no directories.
func (d *Store) scanDir(dir, digits string, level int) error {
	var list []fs.DirEntry
	var err error
	if level == d.layout.levels {
		list, err = d.loadLeaf(leafHash(digits))
	} else {
		list, err = d.readDir(dir)
	}
	if err != nil {
		return err
	}
	for _, entry := range list {
		if d.stopping() {
			return nil
		}
		name := entry.Name()
		path := filepath.Join(dir, name)
		if entry.IsDir() && isHex(name) {
			next := -1
			if level >= 0 && level < d.layout.levels && len(name) == d.layout.length {
				next = level + 1
			}
			err = errors.Join(err, ignoreMissing(d.scanDir(path, digits+name, next)))
		} else if _, _, ours := parseName(name); ours && level != d.layout.levels {
			d.removeMisplaced(path)
		}
	}
	return err
}

// removeMisplaced removes a file that was stored with other levels, and the
// directories that it was the last in.
func (d *Store) removeMisplaced(path string) {
	if d.remove(path) != nil {
		return
	}
	for dir := filepath.Dir(path); dir != filepath.Clean(d.Root); dir = filepath.Dir(dir) {
		if syscall.Rmdir(dir) != nil {
			return
		}
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *Store) readDir(dir string) ([]fs.DirEntry, error) {
	f, err := d.open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// isHex reports whether a directory may be one of ours, of any layout.
func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) <= 20
}

// leafHash is a hash in the leaf of these digits.
func leafHash(digits string) (h keyHash) {
	if len(digits)%2 == 1 {
		digits += "0"
	}
	hex.Decode(h[:], []byte(digits))
	return h
}

// load makes sure that the leaf of a hash is loaded.
func (d *Store) load(ctx context.Context, h keyHash) error {
	if d.scanned.Load() {
		return nil
	}
	dir := d.layout.dir(h)
	d.loading.Lock()
	_, done := d.loaded[dir]
	done = done || d.loaded == nil
	d.loading.Unlock()
	if !done {
		if _, err := d.loadLeaf(h); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.fault("read", err)
		}
	}
	return ctx.Err()
}

// leafFiles are the files of a leaf by their ids.
type leafFiles struct {
	metas  map[uint64]entryName
	bodies map[uint64]entryName
}

// loadLeaf brings the index up to what is in the leaf of a hash, and removes
// what nobody needs. It returns what was there.
func (d *Store) loadLeaf(h keyHash) ([]fs.DirEntry, error) {
	lock := d.stripe(h)
	lock.Lock()
	defer lock.Unlock()
	dir := d.layout.dir(h)
	list, err := d.readDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	files := leafFiles{map[uint64]entryName{}, map[uint64]entryName{}}
	for _, entry := range list {
		n, ext, ours := parseName(entry.Name())
		path := filepath.Join(dir, entry.Name())
		switch {
		case !ours || !entry.Type().IsRegular():
		case d.layout.dir(n.hash) != dir:
			d.removeMisplaced(path)
		case ext == metaExt:
			files.metas[n.id] = n
		case ext == bodyExt:
			files.bodies[n.id] = n
		case d.abandoned(path):
			d.remove(path)
		}
	}
	d.loadFiles(files)
	if err == nil && len(list) == 0 {
		d.removeDirs(h)
	}
	d.loading.Lock()
	if d.loaded != nil {
		d.loaded[dir] = struct{}{}
	}
	d.loading.Unlock()
	return list, err
}

func (d *Store) loadFiles(files leafFiles) {
	for _, n := range files.metas {
		// The process ended between making the one visible and removing the other.
		if old, ok := files.metas[n.old]; ok && old.hash == n.hash {
			d.removeLocked(old)
			delete(files.metas, n.old)
			delete(files.bodies, n.old)
		}
	}
	for id, n := range files.metas {
		d.sawID(id)
		if d.known(n) {
			continue
		}
		if body, ok := files.bodies[id]; !ok || body.hash != n.hash || d.isStuck(n) {
			d.unlink(n)
			continue
		}
		d.loadEntry(n)
	}
	for id, n := range files.bodies {
		if m, ok := files.metas[id]; ok && m.hash == n.hash {
			continue
		}
		if path := d.layout.body(n); d.abandoned(path) {
			d.remove(path)
			d.removeDirs(n.hash)
		}
	}
}

// loadEntry adds an entry to the index.
func (d *Store) loadEntry(n entryName) {
	meta, err := os.Lstat(d.layout.meta(n))
	if err != nil {
		return
	}
	body, err := os.Lstat(d.layout.body(n))
	if err != nil {
		return
	}
	r := record{
		name:    n,
		used:    meta.ModTime().UnixNano(),
		touched: uint32(meta.ModTime().Unix()),
		blocks:  blocksOf(meta.Size(), body.Size()),
	}
	s := d.shard(n.hash)
	s.mu.Lock()
	s.insert(r)
	s.mu.Unlock()
	d.account(1, int64(r.blocks))
}

// abandoned reports whether a file that belongs to no entry has no writer.
func (d *Store) abandoned(path string) bool {
	f, err := d.open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false
	}
	age := time.Since(info.ModTime())
	if !hasLocks {
		return age > orphanAgeNoLock
	}
	return (age > orphanAge || d.alone()) && lockFile(f, lockExclusive)
}

// compare brings the index up to what other processes did to entries: some are
// gone, some were used, some have other metadata.
func (d *Store) compare() {
	var names []entryName
	for i := range d.shards {
		s := &d.shards[i]
		for from := 0; ; {
			names, from = s.names(names[:0], from)
			if len(names) == 0 {
				break
			}
			for _, n := range names {
				if d.stopping() {
					return
				}
				d.compareEntry(s, n)
			}
		}
	}
}

func (d *Store) compareEntry(s *shard, n entryName) {
	meta, err := os.Lstat(d.layout.meta(n))
	if errors.Is(err, fs.ErrNotExist) {
		d.drop(n)
		return
	}
	if err != nil {
		return
	}
	s.mu.Lock()
	var idle []*os.File
	if at := s.find(n); at != none {
		r := &s.records[at]
		r.used = max(r.used, meta.ModTime().UnixNano())
		r.touched = uint32(meta.ModTime().Unix())
		// Nothing tells for sure that the metadata is still the same.
		r.changes++
		idle = s.hot.drop(n.id)
	}
	s.mu.Unlock()
	closeAll(idle)
}
