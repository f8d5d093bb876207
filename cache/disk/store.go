package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/cache/store"
)

// Store is a Store in a directory of files, which outlives the process. Set the
// fields before first use; methods may then be called by any goroutine.
//
// Each response is two files, named by the SHA-256 of its key and spread over
// levels of directories: one with the body and nothing else, so that the kernel
// can send it, and one with the metadata. An index in memory, some 110 bytes
// for each response, knows which there are, how large, and which were used
// last; metadata and open files of those used last are kept in memory too. So
// a hit is one system call for a body of up to 32 KiB, and three and those of
// sending for a longer one, and a miss none.
//
// # Crashes
//
// The rename that gives metadata its name makes a response visible, or new
// metadata, and ends the response it replaces. What a process that was killed
// leaves behind otherwise is ignored, and removed by the next. After a power
// cut there may be more damage, unless Sync is set; it is found by the checks.
//
// # Damage
//
// Metadata has a checksum, and each 256 KiB of a body. Metadata is checked when
// it is read; a body of up to 32 KiB on each opening; a longer one while it is
// read the first time after the start. From then on it is sent unread as long
// as the length, times and inode of its file stay. Damage below the file
// system, which changes none of these, is thus found after the next start.
// What is damaged is removed and not served.
//
// # Limits
//
// The store removes what was used longest ago to stay within MaxBytes and
// MaxEntries, bodies that are being written included. Bodies that are being
// read stay readable. The order outlives a restart to about ten minutes, as the
// modification time of the metadata's file. At the start the directory is
// scanned in the background; what is asked for meanwhile is looked up on the
// disk, and the order of use is known only at the end.
//
// # Failures
//
// When the disk is full or cannot be written to, Create returns an error at
// once for the time of Retry, then tries again. One message is logged at the
// beginning, and one when it works again. What is stored is still served.
//
// # Several processes
//
// Processes may share a directory. None takes the files of another's unfinished
// responses (they are locked; where there is no flock, those of a day ago are
// taken), and no process ever reads a mixture. Each keeps the limits for what it
// knows of. What another stores, updates or removes it learns within Rescan;
// that a body of more than 32 KiB was removed, at once. Until then files that
// it keeps open take their room.
type Store struct {
	// Root is the directory. It is made when it is missing, for the owner
	// only. Apache CacheRoot. Other files in it are left alone.
	Root string

	// DirLevels is the number of levels of directories; if zero, 2; if
	// negative, none. Apache CacheDirLevels. DirLength is the number of
	// characters, hexadecimal digits, of their names; if zero, 2. Apache
	// CacheDirLength. Their product is at most 20. What was stored with other
	// values is removed. Up to 65536 directories, as many as the defaults make,
	// stay when they become empty; making them is most of the cost of the first
	// responses. DirLength 1 is as good for up to some 100,000 responses.
	DirLevels, DirLength int

	// MaxBytes limits the room that files take, each rounded up to 4 KiB; if
	// zero, 1 GiB; if negative, there is no limit.
	MaxBytes int64

	// MaxEntries limits the number of responses, and so that of inodes: two
	// for each, and the directories. If zero, 1 million; if negative, there is
	// no limit.
	MaxEntries int

	// Sync writes a response through to the disk before it becomes visible.
	// Without it a power cut, but no crash of the process, may lose what was
	// stored last.
	Sync bool

	// OpenFiles is how many files are kept open for the next hit; if zero,
	// 512; if negative, few.
	OpenFiles int

	// MetadataBytes is about how much memory metadata takes that is kept for
	// the next hit; if zero, 16 MiB; if negative, little.
	MetadataBytes int

	// Retry is how long nothing is stored after an error; if zero, 10 s; if negative, it
	// is tried again at once.
	Retry time.Duration

	// Rescan is how often the directory is looked through when another process
	// uses it too; if zero or less, 5 minutes; 100 ms
	// at least.
	Rescan time.Duration

	// Logger gets failures of the disk and damage. If nil, nothing is logged.
	Logger *slog.Logger

	once    sync.Once
	invalid error // the fields are wrong
	layout  layout
	shards  [shards]shard
	files   [64]sync.Mutex // each for some leaves: guards names of files in them
	used    atomic.Int64   // bytes of files and reservations
	count   atomic.Int64   // records
	lastID  atomic.Uint64
	faults  faults
	evicted atomic.Int64
	errors  atomic.Int64

	scanned atomic.Bool   // all leaves are loaded
	ready   chan struct{} // closed then, or at Close
	loading sync.Mutex    // guards loaded
	loaded  map[string]struct{}
	joined  sync.Mutex // guards lockfd
	lockfd  *os.File

	closing sync.Once
	closed  atomic.Bool
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed by the keeper

	hook func(op, path string) error // for tests; set before first use
}

// touchEvery is how exactly the time of use is kept on the disk.
const touchEvery = 10 * time.Minute

func (d *Store) log() *slog.Logger {
	if d.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return d.Logger
}

func (d *Store) retry() time.Duration { return cmp.Or(d.Retry, 10*time.Second) }

func (d *Store) limit() int64 {
	switch {
	case d.MaxBytes < 0:
		return 1<<63 - 1
	case d.MaxBytes == 0:
		return 1 << 30
	}
	return d.MaxBytes
}

func (d *Store) maxEntries() int64 {
	switch {
	case d.MaxEntries < 0:
		return 1<<63 - 1
	case d.MaxEntries == 0:
		return 1_000_000
	}
	return int64(d.MaxEntries)
}

// begin starts the store with the first use of it, and says whether it may be
// used.
func (d *Store) begin(ctx context.Context) error {
	d.once.Do(d.start)
	switch {
	case d.invalid != nil:
		return d.invalid
	case d.closed.Load():
		return fmt.Errorf("cache: disk store: %w", fs.ErrClosed)
	}
	return ctx.Err()
}

func (d *Store) start() {
	d.ready, d.stop, d.stopped = make(chan struct{}), make(chan struct{}), make(chan struct{})
	d.loaded = map[string]struct{}{}
	d.layout = layout{root: d.Root, levels: max(0, cmp.Or(d.DirLevels, 2)), length: cmp.Or(d.DirLength, 2)}
	for i := range d.shards {
		d.shards[i].init()
		hot := &d.shards[i].hot
		hot.maxBytes = max(0, cmp.Or(d.MetadataBytes, 16<<20)) / shards
		hot.maxFiles = max(0, cmp.Or(d.OpenFiles, 512)) / shards
	}
	switch {
	case d.Root == "":
		d.invalid = errors.New("cache: disk store: no Root")
	case d.layout.length < 0 || d.layout.length > 20 || d.layout.levels > 20 || d.layout.levels*d.layout.length > 20:
		d.invalid = errors.New("cache: disk store: DirLevels and DirLength are out of range")
	}
	if d.invalid != nil {
		d.log().Error("cache: the disk store cannot be used", "error", d.invalid)
		close(d.ready)
		close(d.stopped)
		return
	}
	if d.closed.Load() { // before its first use, which leaves the disk alone
		close(d.ready)
		close(d.stopped)
		return
	}
	d.join() // before anything is written that another may take for abandoned
	go d.keep()
}

// Close ends the background work and closes idle files. Bodies that are open
// stay so. It returns nil.
func (d *Store) Close() error {
	d.once.Do(func() {
		d.closed.Store(true)
		d.start()
	})
	d.closing.Do(func() {
		d.closed.Store(true)
		close(d.stop)
		<-d.stopped
		for i := range d.shards {
			s := &d.shards[i]
			s.mu.Lock()
			idle := s.hot.close()
			s.mu.Unlock()
			closeAll(idle)
		}
		d.joined.Lock()
		if d.lockfd != nil {
			d.lockfd.Close()
			d.lockfd = nil
		}
		d.joined.Unlock()
	})
	return nil
}

func (d *Store) shard(h keyHash) *shard { return &d.shards[h[15]%shards] }

// stripe returns the lock of the names of files in the leaf of a hash.
func (d *Store) stripe(h keyHash) *sync.Mutex {
	digits := min(4, d.layout.levels*d.layout.length)
	v := (int(h[0])<<8 | int(h[1])) >> (4 * (4 - digits))
	return &d.files[v%len(d.files)]
}

// nextID returns a number that was never used before: the time in ns, or one
// more than the last. Two processes have the same one only by a chance that the
// checksums then find.
func (d *Store) nextID() uint64 {
	for {
		last := d.lastID.Load()
		id := max(uint64(time.Now().UnixNano()), last+1)
		if d.lastID.CompareAndSwap(last, id) {
			return id
		}
	}
}

// sawID keeps ids rising though the clock may have been set back.
func (d *Store) sawID(id uint64) {
	for last := d.lastID.Load(); last < id && id < 1<<63; last = d.lastID.Load() {
		if d.lastID.CompareAndSwap(last, id) {
			return
		}
	}
}

// Get returns the responses under key. Its error is that of the context, or
// fs.ErrClosed after Close.
func (d *Store) Get(ctx context.Context, key string) ([]store.Entry, error) {
	if err := d.begin(ctx); err != nil {
		return nil, err
	}
	h := hashKey(key)
	if err := d.load(ctx, h); err != nil {
		return nil, err
	}
	for range getTries - 1 {
		if entries, complete := d.get(h, key); complete {
			return entries, nil
		}
	}
	entries, _ := d.get(h, key)
	return entries, nil
}

// getTries is how often Get looks again when what it found was replaced before
// it was read.
const getTries = 20

// get is complete unless an entry was removed between finding and reading it.
func (d *Store) get(h keyHash, key string) (entries []store.Entry, complete bool) {
	s := d.shard(h)
	s.mu.Lock()
	head, ok := s.heads[h]
	if !ok {
		s.mu.Unlock()
		return nil, true
	}
	if r := &s.records[head]; r.next == none {
		// Of several, the one that is opened is the one that is used.
		touch := s.touch(head, time.Now())
		name := r.name
		e := s.hot.byID[name.id]
		if e != nil {
			s.hot.use(e)
		}
		s.mu.Unlock()
		if touch {
			d.touch(name)
		}
		if e == nil {
			e = d.entry(name, true)
		}
		switch {
		case e == nil:
			return nil, d.known(name)
		case e.meta.Key != key:
			return nil, true
		}
		return e.self[:], true
	}
	names := s.variants(head)
	s.mu.Unlock()
	entries = make([]store.Entry, 0, len(names))
	complete = true
	for _, n := range names {
		e := d.entry(n, true)
		switch {
		case e == nil:
			complete = complete && d.known(n)
		case e.meta.Key == key:
			entries = append(entries, e)
		}
	}
	return entries, complete
}

// variants returns the names of a record and those after it.
func (s *shard) variants(at int32) (names []entryName) {
	for ; at != none; at = s.records[at].next {
		names = append(names, s.records[at].name)
	}
	return names
}

// touch notes that a record is used, and reports whether that should be noted
// on the disk.
func (s *shard) touch(at int32, now time.Time) bool {
	s.use(at, now.UnixNano())
	r := &s.records[at]
	if now.Unix()-int64(r.touched) < int64(touchEvery/time.Second) {
		return false
	}
	r.touched = uint32(now.Unix())
	return true
}

// touch notes on the disk that an entry is used. It is not worth an error.
func (d *Store) touch(n entryName) {
	if path := d.layout.meta(n); d.try("touch", path) == nil {
		now := time.Now()
		_ = os.Chtimes(path, now, now)
	}
}

// Update replaces the metadata of a response.
func (d *Store) Update(ctx context.Context, old store.Entry, meta *store.Meta) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	e, ok := old.(*entry)
	if !ok || e.disk != d {
		return nil
	}
	if hashKey(meta.Key) != e.name.hash {
		return errors.New("cache: disk store: Update with another key")
	}
	files := d.stripe(e.name.hash)
	files.Lock()
	defer files.Unlock()
	if !d.known(e.name) {
		return nil
	}
	var size int
	temp, err := d.writeTemp(e.name, e.body.bodySums, meta, &size)
	if err == nil {
		err = d.publish(temp, e.name)
	}
	if err != nil {
		return err
	}
	d.swap(newEntry(d, e.name, meta, e.body, size), size, 0)
	return nil
}

// Remove takes a response out. It is gone for this store even when its files
// cannot be removed, which the error then tells.
func (d *Store) Remove(ctx context.Context, old store.Entry) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	if e, ok := old.(*entry); ok && e.disk == d {
		return d.drop(e.name)
	}
	return nil
}

// Walk calls f with each response, in no order. It waits until the scan of the
// start has ended. Metadata that is not in memory is read from the disk.
func (d *Store) Walk(ctx context.Context, f func(store.Entry) bool) error {
	if err := d.begin(ctx); err != nil {
		return err
	}
	select {
	case <-d.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	var names []entryName
	for i := range d.shards {
		for from := 0; ; {
			names, from = d.shards[i].names(names[:0], from)
			if len(names) == 0 {
				break
			}
			for _, n := range names {
				if err := d.begin(ctx); err != nil {
					return err
				}
				if e := d.entry(n, false); e != nil && !f(e) {
					return nil
				}
			}
		}
	}
	return nil
}

// Stats returns figures. Until the scan of the start has ended, they are of
// what it has found so far.
func (d *Store) Stats() store.Stats {
	s := store.Stats{
		Entries: d.count.Load(), Bytes: d.used.Load(), MaxBytes: d.limit(),
		Evictions: d.evicted.Load(), Errors: d.errors.Load(),
	}
	if d.MaxBytes < 0 {
		s.MaxBytes = 0
	}
	return s
}

// names appends the names of some records, from a place on, and returns where
// to go on. None means that there are no more.
func (s *shard) names(list []entryName, from int) ([]entryName, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for from < len(s.records) && len(list) < 256 {
		if n := s.records[from].name; n.id != 0 {
			list = append(list, n)
		}
		from++
	}
	return list, from
}
