package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/modproxy/modproxy/cache/store"
)

// writer stores one response. The file of its body is locked until Commit
// or Abort, so that nobody takes it for one whose writer died.
type writer struct {
	disk *Store
	name entryName
	key  string
	file *growingFile

	body     bodySums
	reserved int64 // bytes of the limit that the body takes
	err      error
	done     bool
}

// growingFile is the file of a body, with those who have it open.
type growingFile struct {
	file    *os.File
	written atomic.Int64
	users   atomic.Int32
}

func (g *growingFile) open() bool {
	for {
		n := g.users.Load()
		if n == 0 {
			return false
		}
		if g.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (g *growingFile) close() {
	if g.users.Add(-1) == 0 {
		g.file.Close()
	}
}

// Create begins to store a response. While the disk fails, it returns why, at
// once; see Retry.
func (d *Store) Create(ctx context.Context, meta *store.Meta) (store.Writer, error) {
	if err := d.begin(ctx); err != nil {
		return nil, err
	}
	if meta.Length > d.limit() && len(meta.Parts) == 0 {
		return nil, fmt.Errorf("%w: a body of %d bytes", store.ErrTooLarge, meta.Length)
	}
	if err := d.faults.pause(d.retry()); err != nil {
		return nil, err
	}
	w := &writer{disk: d, key: meta.Key}
	w.name = entryName{hash: hashKey(meta.Key), id: d.nextID()}
	files := d.stripe(w.name.hash)
	files.Lock() // a scan must not see the file before it is locked
	f, err := d.create(d.layout.body(w.name))
	if err == nil {
		lockFile(f, lockExclusive)
	}
	files.Unlock()
	if err != nil {
		return nil, fmt.Errorf("cache: disk store: %w", d.fault("create", err))
	}
	w.file = &growingFile{file: f}
	w.file.users.Store(1)
	return w, nil
}

// Write appends to the body. After an error the response cannot be stored.
func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, fmt.Errorf("cache: disk store: writer: %w", fs.ErrClosed)
	}
	if w.err == nil {
		w.err = w.reserve(int64(len(p)))
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.disk.write(w.file.file, p)
	w.body.add(p[:n])
	w.file.written.Add(int64(n))
	if err != nil {
		w.err = fmt.Errorf("cache: disk store: %w", w.disk.fault("write", err))
	}
	return n, w.err
}

// reserve makes room for n more bytes.
func (w *writer) reserve(n int64) error {
	size := w.body.size + n
	if size > w.disk.limit() {
		return fmt.Errorf("%w: a body of more than %d bytes", store.ErrTooLarge, w.disk.limit())
	}
	if size <= w.reserved {
		return nil
	}
	step := (size+blockSize-1)/blockSize*blockSize - w.reserved
	w.reserved += step
	w.disk.used.Add(step)
	if !w.disk.evict() {
		return fmt.Errorf("%w: no room beside other bodies that are being written", store.ErrTooLarge)
	}
	return nil
}

// release gives back what was reserved.
func (w *writer) release() {
	w.disk.used.Add(-w.reserved)
	w.reserved = 0
}

// Commit makes the response visible. With one rename it ends the first of old;
// so a crash leaves one or the other.
func (w *writer) Commit(meta *store.Meta, old ...store.Entry) error {
	if w.err == nil && w.done {
		return fmt.Errorf("cache: disk store: writer: %w", fs.ErrClosed)
	}
	if w.err == nil && meta.Key != w.key {
		w.err = errors.New("cache: disk store: Commit with another key than Create")
	}
	if w.err != nil {
		w.Abort()
		return w.err
	}
	if err := w.commit(meta, old); err != nil {
		w.err = err
		w.Abort()
		return err
	}
	w.done = true
	if w.file.users.Load() > 1 {
		lockFile(w.file.file, lockNone) // readers may have it for long
	}
	w.file.close()
	w.disk.worked()
	w.disk.evict()
	return nil
}

func (w *writer) commit(meta *store.Meta, old []store.Entry) error {
	d := w.disk
	if err := d.begin(context.Background()); err != nil {
		return err
	}
	d.load(context.Background(), w.name.hash)
	if d.Sync {
		if err := d.sync(w.file.file); err != nil {
			return fmt.Errorf("cache: disk store: %w", d.fault("sync", err))
		}
	}
	replaced, others := w.replaced(old)

	files := d.stripe(w.name.hash)
	files.Lock()
	if replaced != nil && d.known(replaced.name) {
		w.name.old = replaced.name.id
	}
	var size int
	temp, err := d.writeTemp(w.name, w.body, meta, &size)
	if err == nil {
		// Those of a crash between here and the rename are useless either way.
		for _, e := range others {
			d.removeLocked(e.name)
		}
		err = d.publish(temp, w.name)
	}
	if err != nil {
		files.Unlock()
		return err
	}
	w.release()
	e := newEntry(d, w.name, meta, &bodyFile{bodySums: w.body}, size)
	d.swap(e, size, w.name.old)
	if w.name.old != 0 {
		d.unlink(replaced.name)
	}
	files.Unlock()
	return nil
}

// replaced returns the entries of old that are ours, the first apart.
func (w *writer) replaced(old []store.Entry) (first *entry, others []*entry) {
	for _, o := range old {
		e, ok := o.(*entry)
		switch {
		case !ok || e.disk != w.disk || e.name.hash != w.name.hash:
		case first == nil:
			first = e
		case e.name.id != first.name.id:
			others = append(others, e)
		}
	}
	return first, others
}

// Abort throws the body away.
func (w *writer) Abort() {
	if w.done {
		return
	}
	w.done = true
	w.release()
	w.disk.remove(w.disk.layout.body(w.name))
	w.disk.removeDirs(w.name.hash)
	w.file.close()
}

// Reader reads what has been written.
func (w *writer) Reader() (store.ReaderAtCloser, error) {
	if !w.file.open() {
		return nil, fmt.Errorf("cache: disk store: writer: %w", fs.ErrClosed)
	}
	return &growingReader{file: w.file}, nil
}

// growingReader reads a body that is being written.
type growingReader struct {
	mu   sync.RWMutex // guards file against Close
	file *growingFile
}

func (r *growingReader) ReadAt(p []byte, off int64) (int, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.file == nil {
		return 0, fs.ErrClosed
	}
	if off < 0 {
		return 0, fmt.Errorf("cache: disk store: offset before the beginning: %w", fs.ErrInvalid)
	}
	left := r.file.written.Load() - off
	if left <= 0 {
		return 0, io.EOF
	}
	if int64(len(p)) <= left {
		return r.file.file.ReadAt(p, off)
	}
	n, err := r.file.file.ReadAt(p[:left], off)
	if err == nil {
		err = io.EOF
	}
	return n, err
}

func (r *growingReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return fs.ErrClosed
	}
	r.file.close()
	r.file = nil
	return nil
}

// writeTemp writes a file of metadata under a temporary name.
func (d *Store) writeTemp(n entryName, body bodySums, meta *store.Meta, size *int) (temp string, err error) {
	buf := recordBuffers.Get().(*[]byte)
	defer recordBuffers.Put(buf)
	*buf, err = appendRecord((*buf)[:0], n.id, body, meta)
	if err != nil {
		return "", err
	}
	*size = len(*buf)
	temp = d.layout.path(n.hash, n.id, d.nextID(), tempExt)
	f, err := d.create(temp)
	if err != nil {
		return "", fmt.Errorf("cache: disk store: %w", d.fault("create", err))
	}
	op := "write"
	_, err = d.write(f, *buf)
	if err == nil && d.Sync {
		op = "sync"
		err = d.sync(f)
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		d.remove(temp)
		return "", fmt.Errorf("cache: disk store: %w", d.fault(op, err))
	}
	return temp, nil
}

var recordBuffers = sync.Pool{New: func() any { return new([]byte) }}

// publish gives metadata its name.
func (d *Store) publish(temp string, n entryName) error {
	path := d.layout.meta(n)
	err := d.rename(temp, path)
	if err == nil && d.Sync {
		err = d.syncDir(filepath.Dir(path))
	}
	if err != nil {
		d.remove(temp)
		return fmt.Errorf("cache: disk store: %w", d.fault("rename", err))
	}
	return nil
}
