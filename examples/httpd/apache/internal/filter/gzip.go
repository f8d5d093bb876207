package filter

import (
	"compress/gzip"
	"io"
	"sync"
)

// Gzip packs bodies, as httpd's DEFLATE. The zero value has the default level; it
// may be used by any number of goroutines.
type Gzip struct {
	// Level is that of package compress/gzip, from 1 (fast) to 9 (small). Zero is
	// the default. Apache: DeflateCompressionLevel.
	Level int

	idle sync.Pool // a packer takes most of a megabyte
}

// Filter begins a body.
func (g *Gzip) Filter(next Writer) *Packed {
	p := &Packed{from: g, next: next}
	z, ok := g.idle.Get().(*gzip.Writer)
	if !ok {
		level := g.Level
		if level == 0 {
			level = gzip.DefaultCompression
		}
		z, _ = gzip.NewWriterLevel(io.Discard, level) // the directive has checked the level
	}
	z.Reset(counter{next, &p.Out})
	p.z = z
	return p
}

// Packed is a body that is being packed.
type Packed struct {
	In, Out int64 // bytes so far

	from *Gzip
	next Writer
	z    *gzip.Writer // nil after Close
}

func (p *Packed) Write(b []byte) (int, error) {
	n, err := p.z.Write(b)
	p.In += int64(n)
	return n, err
}

// Flush packs what is there, at the cost of a few bytes.
func (p *Packed) Flush() error {
	if err := p.z.Flush(); err != nil {
		return err
	}
	return p.next.Flush()
}

// Close writes the end.
func (p *Packed) Close() error {
	if p.z == nil {
		return nil
	}
	err := p.z.Close()
	p.z.Reset(io.Discard)
	p.from.idle.Put(p.z)
	p.z = nil
	return err
}

// counter counts what passes.
type counter struct {
	io.Writer
	n *int64
}

func (c counter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	*c.n += int64(n)
	return n, err
}
