package copybuf

import (
	"io"
	"sync"
)

// Size is the size of a piece that is copied.
const Size = 32 << 10

// Pool lends buffers of that size.
var Pool = sync.Pool{New: func() any { return new([Size]byte) }}

// Writer copies for a writer that cannot read by itself.
type Writer struct{ io.Writer }

func (w Writer) ReadFrom(r io.Reader) (int64, error) {
	lent := Pool.Get().(*[Size]byte)
	defer Pool.Put(lent)
	return io.CopyBuffer(struct{ io.Writer }{w.Writer}, struct{ io.Reader }{r}, lent[:])
}
