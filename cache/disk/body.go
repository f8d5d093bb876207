package disk

import (
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/cache/store"
)

// smallReader is a body in memory.
type smallReader struct {
	mu   sync.Mutex // a reader may be closed by another goroutine
	buf  *[smallBody]byte
	size int
	at   int64
}

func (b *smallReader) rest() ([]byte, error) {
	switch {
	case b.buf == nil:
		return nil, fs.ErrClosed
	case b.at >= int64(b.size):
		return nil, io.EOF
	}
	return b.buf[b.at:b.size], nil
}

func (b *smallReader) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rest, err := b.rest()
	if err != nil || len(p) == 0 {
		return 0, err
	}
	n := copy(p, rest)
	b.at += int64(n)
	return n, nil
}

// WriteTo gives all at once.
func (b *smallReader) WriteTo(w io.Writer) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rest, err := b.rest()
	if err != nil {
		if err == io.EOF {
			err = nil
		}
		return 0, err
	}
	n, err := w.Write(rest)
	b.at += int64(n)
	return int64(n), err
}

func (b *smallReader) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf == nil {
		return 0, fs.ErrClosed
	}
	at, err := store.Position(offset, whence, b.at, int64(b.size))
	b.at = at
	return at, err
}

func (b *smallReader) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf == nil {
		return fs.ErrClosed
	}
	smallBuffers.Put(b.buf)
	b.buf = nil
	return nil
}

// fileBody is an open file that was seen whole. It is an fs.File, an io.Seeker
// and a syscall.Conn, which is what net wants for sendfile. Close gives the
// file to the next reader; no use of a closed body reaches it.
type fileBody struct {
	entry *entry
	file  *os.File

	mu     sync.Mutex // guards both below
	users  int
	closed bool
}

func (b *fileBody) begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return fs.ErrClosed
	}
	b.users++
	return nil
}

func (b *fileBody) end() {
	b.mu.Lock()
	b.users--
	last := b.closed && b.users == 0
	b.mu.Unlock()
	if last {
		b.file.Close()
	}
}

// Close ends the body. A file that another goroutine still reads is not for
// the next reader; it is closed when that has ended.
func (b *fileBody) Close() error {
	b.mu.Lock()
	was, users := b.closed, b.users
	b.closed = true
	b.mu.Unlock()
	if was {
		return fs.ErrClosed
	}
	if users == 0 {
		b.entry.give(b.file)
	}
	return nil
}

func (b *fileBody) Read(p []byte) (int, error) {
	if err := b.begin(); err != nil {
		return 0, err
	}
	defer b.end()
	return b.file.Read(p)
}

func (b *fileBody) Seek(offset int64, whence int) (int64, error) {
	if err := b.begin(); err != nil {
		return 0, err
	}
	defer b.end()
	return b.file.Seek(offset, whence)
}

// Stat returns what the system knows of the file. It makes a body an fs.File.
func (b *fileBody) Stat() (fs.FileInfo, error) {
	if err := b.begin(); err != nil {
		return nil, err
	}
	defer b.end()
	return b.file.Stat()
}

// SyscallConn lets the kernel send the file. It implements syscall.Conn.
func (b *fileBody) SyscallConn() (syscall.RawConn, error) {
	if err := b.begin(); err != nil {
		return nil, err
	}
	defer b.end()
	raw, err := b.file.SyscallConn()
	return rawFile{b, raw}, err
}

type rawFile struct {
	body *fileBody
	raw  syscall.RawConn
}

func (r rawFile) Control(f func(fd uintptr)) error {
	if err := r.body.begin(); err != nil {
		return err
	}
	defer r.body.end()
	return r.raw.Control(f)
}

func (r rawFile) Read(f func(fd uintptr) bool) error {
	if err := r.body.begin(); err != nil {
		return err
	}
	defer r.body.end()
	return r.raw.Read(f)
}

func (r rawFile) Write(func(fd uintptr) bool) error { return fs.ErrPermission }

// blockBuffers are for blocks that are checked before they are given.
var blockBuffers = sync.Pool{New: func() any { return new([sumBlock]byte) }}

// checkedBody reads a body that was not yet seen whole: block by block, giving
// nothing of a block before its checksum is right.
type checkedBody struct {
	entry *entry
	stamp fileStamp

	mu    sync.Mutex // a reader may be closed by another goroutine
	file  *os.File   // nil: closed
	at    int64
	buf   *[sumBlock]byte
	block int // what is in buf; -1: nothing
	err   error
}

func newCheckedBody(e *entry, f *os.File, stamp fileStamp) *checkedBody {
	return &checkedBody{entry: e, file: f, stamp: stamp, block: -1}
}

// rest returns the checked bytes from the offset to the end of its block.
func (b *checkedBody) rest() ([]byte, error) {
	body := b.entry.body
	switch {
	case b.file == nil:
		return nil, fs.ErrClosed
	case b.err != nil:
		return nil, b.err
	case b.at >= body.size:
		return nil, io.EOF
	}
	block := int(b.at / sumBlock)
	start, end := body.block(block)
	if b.block != block {
		if b.buf == nil {
			b.buf = blockBuffers.Get().(*[sumBlock]byte)
		}
		p := b.buf[:end-start]
		b.block = -1
		if n, err := b.file.ReadAt(p, start); n < len(p) && err != io.EOF {
			b.err = fmt.Errorf("cache: body: %w", err)
			return nil, b.err
		} else if n < len(p) || crc32.Checksum(p, castagnoli) != body.sums[block] {
			b.err = b.entry.damaged("body")
			return nil, b.err
		}
		b.block = block
		b.entry.saw(block, b.file, b.stamp)
	}
	return b.buf[b.at-start : end-start], nil
}

func (b *checkedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rest, err := b.rest()
	if err != nil || len(p) == 0 {
		return 0, err
	}
	n := copy(p, rest)
	b.at += int64(n)
	return n, nil
}

// WriteTo spares the copy from the block.
func (b *checkedBody) WriteTo(w io.Writer) (total int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		rest, err := b.rest()
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(rest)
		b.at += int64(n)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

func (b *checkedBody) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		return 0, fs.ErrClosed
	}
	at, err := store.Position(offset, whence, b.at, b.entry.body.size)
	b.at = at
	return at, err
}

func (b *checkedBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		return fs.ErrClosed
	}
	if b.buf != nil {
		blockBuffers.Put(b.buf)
		b.buf = nil
	}
	b.entry.give(b.file)
	b.file = nil
	return nil
}

// saw notes that a block was right in a file of a stamp. After the last one the
// file is trusted as long as its stamp stays. A file changed a moment ago is
// not: what changes it next may leave the stamp as it is.
func (e *entry) saw(block int, f *os.File, stamp fileStamp) {
	if !stamp.settled(time.Now()) {
		return
	}
	s := e.disk.shard(e.name.hash)
	s.mu.Lock()
	seen := &e.body.seen
	if seen.bits == nil || seen.stamp != stamp {
		n := len(e.body.sums)
		*seen = seenBlocks{stamp, make([]uint64, (n+63)/64), n}
	}
	if bit := uint64(1) << (block % 64); seen.bits[block/64]&bit == 0 {
		seen.bits[block/64] |= bit
		seen.left--
	}
	done := seen.left == 0
	s.mu.Unlock()
	if !done {
		return
	}
	now, err := stampOf(f)
	if err != nil || now != stamp {
		return // changed while it was read
	}
	s.mu.Lock()
	e.body.whole = stamp
	s.mu.Unlock()
}
