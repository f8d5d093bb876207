package wstunnel

import (
	"encoding/binary"
	"math"
)

// The bits of a frame's first two bytes (RFC 6455 section 5.2).
const (
	bitFinal   = 0x80
	bitMask    = 0x80
	bitControl = 0x08 // of the opcode

	bitCompressed = 0x40 // RSV1: RFC 7692 section 6
	bitsReserved  = 0x30 // RSV2 and RSV3

	opContinuation = 0x00
	opBinary       = 0x02
	opClose        = 0x08
	opPong         = 0x0a
)

// maxHead is the length of the longest frame head: two bytes, eight of length,
// four of mask.
const maxHead = 14

// framing follows the frames of one direction by their heads alone. It never
// looks at what is in them.
//
//	head ──complete──► payload ──► head        a message ends with the payload
//	  │                                        of its final frame
//	  └──Close passed, or no WebSocket──► lost  nothing is known any more
type framing struct {
	masked bool // from the client

	left  uint64 // of the payload, yet to pass
	final bool   // the frame ends a message, or is control
	code  byte   // opcode of the frame
	open  bool   // a message has frames yet to come
	lost  bool
	have  uint8 // bytes of head
	head  [maxHead]byte
}

// Follow is told the bytes that pass next. It returns how many of them lead up
// to the end of the last message that ends in p.
func (f *framing) Follow(p []byte) (whole int) {
	for i := 0; i < len(p) && !f.lost; {
		if f.left > 0 {
			n := min(uint64(len(p)-i), f.left)
			f.left -= n
			i += int(n)
		} else if i += f.readHead(p[i:]); f.have > 0 || f.lost {
			continue // the rest of the head is to come
		}
		if f.left == 0 && f.endFrame() {
			whole = i
		}
	}
	return whole
}

// readHead takes bytes of a head, and returns how many. The head is complete if
// none are kept.
func (f *framing) readHead(p []byte) int {
	if f.have == 0 && len(p) >= maxHead { // all at once
		n, ok := f.parseHead(p[:maxHead])
		f.lost = !ok
		return n
	}
	n := copy(f.head[f.have:], p)
	had := int(f.have)
	f.have += uint8(n)
	length, ok := f.parseHead(f.head[:f.have])
	switch {
	case !ok:
		f.lost = true
	case length > 0:
		f.have = 0
		return length - had
	}
	return n
}

// parseHead reads a head off the front of b. The length is 0 if it is not
// complete, and ok false if it is that of no frame of this direction.
func (f *framing) parseHead(b []byte) (length int, ok bool) {
	if len(b) < 2 {
		return 0, true
	}
	if (b[1]&bitMask != 0) != f.masked {
		return 0, false
	}
	length = 2
	n := uint64(b[1] &^ bitMask)
	switch n {
	case 126:
		length += 2
	case 127:
		length += 8
	}
	if f.masked {
		length += 4
	}
	if len(b) < length {
		return 0, true
	}
	switch n {
	case 126:
		n = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if n = binary.BigEndian.Uint64(b[2:]); n > math.MaxInt64 {
			return 0, false
		}
	}
	f.left, f.final, f.code = n, b[0]&bitFinal != 0, b[0]&0x0f
	return length, true
}

// endFrame notes that a frame has passed, and reports whether no message is
// under way now.
func (f *framing) endFrame() bool {
	switch {
	case f.code == opClose:
		f.lost = true // nothing may follow
		return false
	case f.code&bitControl == 0:
		f.open = !f.final
	}
	return !f.open
}

// Between reports whether another message may follow what has passed.
func (f *framing) Between() bool { return !f.lost && !f.open && f.left == 0 && f.have == 0 }

// Payload returns how many bytes pass next that need not be followed.
func (f *framing) Payload() int64 {
	if f.lost {
		return math.MaxInt64
	}
	return int64(f.left)
}

// Skip says that n of them have passed.
func (f *framing) Skip(n int64) {
	if f.lost || n <= 0 {
		return
	}
	if f.left -= min(uint64(n), f.left); f.left == 0 {
		f.endFrame()
	}
}

// closeFrame is a Close frame with a code, masked if mask is not nil.
func closeFrame(code uint16, mask []byte) []byte {
	payload := binary.BigEndian.AppendUint16(nil, code)
	b := []byte{bitFinal | opClose, byte(len(payload))}
	if mask != nil {
		b[1] |= bitMask
		b = append(b, mask[:4]...)
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
	}
	return append(b, payload...)
}
