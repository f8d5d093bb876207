package ajp

import (
	"bufio"
	"io"
)

// peekPacket looks at the head of the next packet from the container and
// returns its type and the length of its payload, type included. It checks the
// length against what the type allows; nothing is taken off r. io.EOF means
// that not a byte came.
func peekPacket(r *bufio.Reader, size int) (kind byte, length int, err error) {
	head, err := r.Peek(headSize + 1)
	if err != nil {
		if err == io.EOF && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, 0, err
	}
	return packetHead(head, size)
}

// packetHead reads the head of a packet from the container and the byte behind
// it.
func packetHead(head []byte, size int) (kind byte, length int, err error) {
	if getInt(head) != toProxy {
		return 0, 0, malformed("packet does not begin with AB")
	}
	kind, length = head[headSize], getInt(head[2:])
	if length > size-headSize {
		return 0, 0, malformed("packet of %d bytes, where %d are allowed", length+headSize, size)
	}
	ok := false
	switch kind {
	case typeSendBodyChunk:
		ok = length >= 3
	case typeSendHeaders:
		ok = length >= 1+2+2+2
	case typeEndResponse:
		ok = length == 2
	case typeGetBodyChunk:
		ok = length == 3
	case typeCPong:
		ok = length == 1
	default:
		return 0, 0, malformed("packet of unknown type %d", kind)
	}
	if !ok {
		return 0, 0, malformed("packet of type %d has a length of %d", kind, length)
	}
	return kind, length, nil
}

// payload returns the payload of the packet that was peeked at, behind its
// type, as a string of its own, and takes the packet off r.
func payload(r *bufio.Reader, length int) (string, error) {
	whole := headSize + length
	if whole <= r.Size() {
		b, err := r.Peek(whole)
		if err != nil {
			return "", unexpected(err)
		}
		s := string(b[headSize+1:])
		_, _ = r.Discard(whole)
		return s, nil
	}
	_, _ = r.Discard(headSize + 1)
	b := make([]byte, length-1)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", unexpected(err)
	}
	return string(b), nil
}

// chunkData returns the length of the data in a SEND_BODY_CHUNK packet and the
// number of bytes behind them: a NUL, which some containers leave out.
func chunkData(length, data int) (pad int, err error) {
	pad = length - 3 - data
	if pad != 0 && pad != 1 {
		return 0, malformed("packet of %d bytes has a chunk of %d", length, data)
	}
	return pad, nil
}

// unexpected makes an end of the connection inside a message an error.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
