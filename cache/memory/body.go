package memory

import (
	"io"
	"io/fs"
	"sync/atomic"

	"github.com/modproxy/modproxy/cache/store"
)

// body reads chunks without copying where it can.
type body struct {
	chunks [][]byte
	size   int64
	at     int64
	closed atomic.Bool
}

func (b *body) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, fs.ErrClosed
	}
	if b.at >= b.size {
		return 0, io.EOF
	}
	n := copyAt(p, b.chunks, b.at)
	b.at += int64(n)
	return n, nil
}

func (b *body) Seek(offset int64, whence int) (at int64, err error) {
	if b.closed.Load() {
		return 0, fs.ErrClosed
	}
	b.at, err = store.Position(offset, whence, b.at, b.size)
	return b.at, err
}

// WriteTo hands the chunks themselves to w.
func (b *body) WriteTo(w io.Writer) (int64, error) { return b.WritePiece(w, b.size-b.at) }

// WritePiece implements [store.PieceWriter].
func (b *body) WritePiece(w io.Writer, n int64) (written int64, err error) {
	if b.closed.Load() {
		return 0, fs.ErrClosed
	}
	skip := b.at
	for _, c := range b.chunks {
		if skip >= int64(len(c)) {
			skip -= int64(len(c))
			continue
		}
		if written == n {
			break
		}
		c = c[skip:]
		skip = 0
		if int64(len(c)) > n-written {
			c = c[:n-written]
		}
		m, err := w.Write(c)
		written += int64(m)
		b.at += int64(m)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func (b *body) Close() error {
	if b.closed.Swap(true) {
		return fs.ErrClosed
	}
	return nil
}

// copyAt copies what chunks hold from offset at on.
func copyAt(p []byte, chunks [][]byte, at int64) (n int) {
	for _, c := range chunks {
		if at >= int64(len(c)) {
			at -= int64(len(c))
			continue
		}
		m := copy(p[n:], c[at:])
		n += m
		at = 0
		if n == len(p) {
			break
		}
	}
	return n
}
