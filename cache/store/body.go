package store

import (
	"errors"
	"io"
)

// Body is the stored body of a response.
type Body interface {
	io.ReadSeeker
	io.Closer
}

// PieceWriter is a Body that writes a piece of itself without a copy, as an
// io.WriterTo does the rest of it.
type PieceWriter interface {
	// WritePiece writes the next n bytes.
	WritePiece(w io.Writer, n int64) (int64, error)
}

var errOffset = errors.New("cache: offset before the beginning")

// Position turns what Seek of a Body of that size is given into an offset.
func Position(offset int64, whence int, at, size int64) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += at
	case io.SeekEnd:
		offset += size
	default:
		offset = -1
	}
	if offset < 0 {
		return at, errOffset
	}
	return offset, nil
}
