package wstunnel

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// frames checks the frames of one direction in message mode, in front of
// gorilla/websocket, which leaves some of RFC 6455 and RFC 7692 unchecked and
// has one code for nearly all the rest.
//
//	head ──complete──► payload ──► head
//	  │                   └──of a Close──► over
//	  └──violation──► over
type frames struct {
	masked  bool // from the client
	deflate bool // messages may be compressed

	head    [maxHead]byte
	have    int    // bytes of head
	left    uint64 // of the payload, yet to come
	open    bool   // a message has frames yet to come
	closing []byte // the payload of a Close, as far as it is here
	over    error  // nothing is read behind it
}

// check is told the bytes that come next. It returns how many of them may be
// passed on, and what they end with: a *websocket.CloseError for a Close, a
// [*CloseError] for a violation. The last byte that has shown it is held back, so
// that nobody acts on the frame before.
func (f *frames) check(p []byte) (passes int, err error) {
	for passes < len(p) && f.over == nil {
		n := 1
		if f.left > 0 {
			n = int(min(uint64(len(p)-passes), f.left))
			f.over = f.readPayload(p[passes : passes+n])
		} else {
			f.head[f.have] = p[passes]
			f.have++
			f.over = f.readHead()
		}
		passes += n
	}
	if f.over != nil && passes > 0 {
		passes--
	}
	return passes, f.over
}

func violation(reason string) error {
	return &CloseError{Code: websocket.CloseProtocolError, Reason: reason}
}

// readHead judges each part of a head as soon as it is there.
func (f *frames) readHead() error {
	if f.have < 2 {
		return nil
	}
	extended := 0
	switch f.head[1] &^ bitMask {
	case 126:
		extended = 2
	case 127:
		extended = 8
	}
	if f.have == 2 {
		if err := f.begin(); err != nil {
			return err
		}
	}
	if f.have < 2+extended {
		return nil
	}
	size, ok := frameSize(f.head[1]&^bitMask, f.head[2:2+extended])
	if !ok {
		return violation("length is not in its shortest form")
	}
	whole := 2 + extended
	if f.masked {
		whole += 4
	}
	if f.have < whole {
		return nil
	}
	f.left, f.have = size, 0
	if f.closes() {
		f.closing = make([]byte, 0, size)
		if size == 0 {
			return &websocket.CloseError{Code: websocket.CloseNoStatusReceived}
		}
	}
	return nil
}

func (f *frames) closes() bool { return f.head[0]&0x0f == opClose }

// begin judges the first two bytes of a frame.
func (f *frames) begin() error {
	final, code, short := f.head[0]&bitFinal != 0, f.head[0]&0x0f, f.head[1]&^bitMask
	control := code&bitControl != 0
	compressed := f.head[0]&bitCompressed != 0
	switch {
	case f.head[0]&bitsReserved != 0, compressed && (!f.deflate || control || code == opContinuation):
		return violation("reserved bit is set")
	case (f.head[1]&bitMask != 0) != f.masked:
		return violation("mask is missing, or there is one")
	case code > opBinary && code < opClose || code > opPong:
		return violation("opcode is unknown")
	case control && (!final || short > 125):
		return violation("control frame is fragmented or too long")
	case code == opClose && short == 1:
		return violation("close code is cut")
	case !control && (code == opContinuation) != f.open:
		return violation("message is continued that has not begun, or begun in another")
	case !control:
		f.open = !final
	}
	return nil
}

// frameSize returns the length of a payload, which stands in the second byte or
// behind it. It is not ok if fewer bytes would do, or if its top bit is set.
func frameSize(short byte, extended []byte) (size uint64, ok bool) {
	switch len(extended) {
	case 2:
		size = uint64(binary.BigEndian.Uint16(extended))
		return size, size > 125
	case 8:
		size = binary.BigEndian.Uint64(extended)
		return size, size > math.MaxUint16 && size <= math.MaxInt64
	}
	return uint64(short), true
}

// readPayload looks at bytes of a payload, which matter only in a Close.
func (f *frames) readPayload(p []byte) error {
	f.left -= uint64(len(p))
	if !f.closes() {
		return nil
	}
	for _, c := range p {
		if f.masked {
			c ^= f.head[2+len(f.closing)%4]
		}
		f.closing = append(f.closing, c)
	}
	if f.left > 0 {
		return nil
	}
	code, reason := int(binary.BigEndian.Uint16(f.closing)), string(f.closing[2:])
	switch {
	case !validCode(code):
		return violation("close code is not one to be sent")
	case !utf8.ValidString(reason):
		return &CloseError{Code: websocket.CloseInvalidFramePayloadData, Reason: "reason is not UTF-8"}
	}
	return &websocket.CloseError{Code: code, Text: reason}
}

// validCode reports whether a Close may carry a code: one that is registered, and
// stands for no missing Close, or one of applications (RFC 6455 section 7.4).
func validCode(code int) bool {
	switch code {
	case 1004, websocket.CloseNoStatusReceived, websocket.CloseAbnormalClosure:
		return false
	}
	return code >= 1000 && code <= 1014 || code >= 3000 && code <= 4999
}
