package ajp

import (
	"io"

	"github.com/modproxy/modproxy/proxy"
)

// writeBulk is WriteTo for a body that comes faster than it is read: it reads
// as much as fits a large buffer, whatever packets that may be, moves their
// data together and writes them at once. That saves most of the system calls
// that one packet at a time would cost. It goes on to the end of the body.
func (b *responseBody) writeBulk(w io.Writer) (written int64, err error) {
	c := b.x.c
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	buf := lent[:]
	b.bulk = true
	flushed := false
	have, _ := io.ReadFull(c.R, buf[:c.R.Buffered()]) // from here on the connection itself is read
	for {
		data, used := b.strip(buf[:have])
		if data > 0 {
			n, err := w.Write(buf[:data])
			written += int64(n)
			if err != nil {
				return written, err
			}
		}
		if b.Ended() != nil {
			return written, nil
		}
		have = copy(buf, buf[used:have])
		flushed = flushed && data == 0
		if !flushed && !c.Waiting() {
			if err := proxy.FlushWriter(w); err != nil {
				return written, err
			}
			flushed = true
			c.Arm(0)
		} else if data > 0 {
			c.Arm(0)
		}
		n, err := c.Read(buf[have:])
		have += n
		if err != nil && !(proxy.IsTimeout(err) && b.x.feeder.sender().WaitsForClient()) {
			b.fail(unexpected(err))
			return written, nil
		}
		if err != nil {
			c.Extend()
		}
	}
}

// strip takes packets off buf and moves their data to its begin. It returns
// the length of the data, and how many bytes of buf it has used: the rest is a
// packet whose head is not all there.
func (b *responseBody) strip(buf []byte) (data, used int) {
	for b.Ended() == nil {
		if b.chunk > 0 {
			n := copy(buf[data:], buf[used:min(used+b.chunk, len(buf))])
			b.took(n)
			data, used = data+n, used+n
		}
		if b.chunk > 0 || b.pad > len(buf)-used {
			return data, used
		}
		used += b.pad
		b.pad = 0
		if len(buf)-used < headSize+1 {
			return data, used
		}
		kind, length, err := packetHead(buf[used:], b.x.size)
		if err != nil {
			b.fail(err)
			return data, used
		}
		n := bodyPacketHead(kind)
		if len(buf)-used < n {
			return data, used
		}
		head := buf[used : used+n]
		used += n
		if kind == typeEndResponse && used < len(buf) {
			head[headSize+1] = 0 // what follows was not asked for: not to be used again
		}
		if err := b.take(kind, length, head); err != nil {
			b.fail(err)
		}
	}
	return data, used
}
