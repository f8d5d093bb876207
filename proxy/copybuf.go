package proxy

import (
	"io"
	"sync"
)

// copyBufferSize is the size of a piece that is copied.
const copyBufferSize = 32 << 10

// copyBuffers lends buffers of that size.
var copyBuffers = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

// writerReaderFrom copies for a writer that cannot read by itself.
type writerReaderFrom struct{ io.Writer }

func (w writerReaderFrom) ReadFrom(r io.Reader) (int64, error) {
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	return io.CopyBuffer(struct{ io.Writer }{w.Writer}, struct{ io.Reader }{r}, lent[:])
}
