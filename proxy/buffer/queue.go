package buffer

import (
	"io"
	"slices"

	"github.com/modproxy/modproxy/proxy/internal/copybuf"
	"github.com/modproxy/modproxy/proxy/internal/tempfile"
)

// leastFree is how much room a piece must have for more to be read into it.
const leastFree = 4 << 10

// piece is a part of an answer in memory.
type piece struct {
	data     *[copybuf.Size]byte // lent by copybuf.Pool
	from, to int                 // what was not taken yet
}

func newPiece() *piece { return &piece{data: copybuf.Pool.Get().(*[copybuf.Size]byte)} }

func (p *piece) free() { copybuf.Pool.Put(p.data) }

// queue is what the backend has sent and the client has not taken, in this order:
// what is in memory, what is in the file, and what should have been written to the
// file. Only behind an empty file is anything added to what is in memory.
type queue struct {
	pieces   []*piece
	inMemory int64
	spare    *piece // not in use

	file     *tempfile.File // nil until it is needed
	size     int64          // it goes round: byte n is kept at n modulo size
	from, to int64          // what is in it
	late     *piece         // what could not be written
	broken   bool           // nothing is written any more
}

func (q *queue) inFile() int64 { return q.to - q.from }

func (q *queue) held() int64 {
	n := q.inMemory + q.inFile()
	if q.late != nil {
		n += int64(q.late.to)
	}
	return n
}

// tail returns the piece that more is read into, by one who does not hold the
// lock; what is in it may be taken meanwhile.
func (q *queue) tail() *piece {
	if n := len(q.pieces); n > 0 {
		p := q.pieces[n-1]
		if p.from == p.to {
			p.from, p.to = 0, 0
		}
		if len(p.data)-p.to >= leastFree {
			return p
		}
	}
	p := q.spare
	if q.spare = nil; p == nil {
		p = newPiece()
	}
	q.pieces = append(q.pieces, p)
	return p
}

// head returns the first piece with something in it; nil if there is none in
// memory.
func (q *queue) head() *piece {
	if q.late != nil && q.held() == int64(q.late.to) { // its turn has come
		q.pieces = append(q.pieces, q.late)
		q.inMemory, q.late = int64(q.late.to), nil
	}
	if q.inMemory == 0 {
		return nil
	}
	for q.pieces[0].from == q.pieces[0].to {
		q.drop(q.pieces[0])
		q.pieces = slices.Delete(q.pieces, 0, 1)
	}
	return q.pieces[0]
}

// drop is for a piece that was taken: one is kept to be used again.
func (q *queue) drop(p *piece) {
	if q.spare != nil {
		p.free()
		return
	}
	p.from, p.to = 0, 0
	q.spare = p
}

// write appends data to the file. What was written is in it when that is added to
// q.to.
func (q *queue) write(data []byte) error {
	for at := q.to; len(data) > 0; {
		off := at % q.size
		n := min(int64(len(data)), q.size-off)
		if _, err := q.file.WriteAt(data[:n], off); err != nil {
			return err
		}
		data, at = data[n:], at+n
	}
	return nil
}

// readAt reads what is in the file between from and to.
func (q *queue) readAt(p []byte, from, to int64) (int, error) {
	off := from % q.size
	n, err := q.file.ReadAt(p[:min(int64(len(p)), to-from, q.size-off)], off)
	switch {
	case n > 0:
		return n, nil
	case err == io.EOF: // somebody has cut it
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

// free gives all back.
func (q *queue) free() {
	for _, p := range q.pieces {
		p.free()
	}
	for _, p := range []*piece{q.spare, q.late} {
		if p != nil {
			p.free()
		}
	}
	if q.file != nil {
		_ = q.file.Close()
	}
	*q = queue{size: q.size}
}
