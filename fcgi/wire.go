package fcgi

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// FastCGI 1.0, section 8. There is one version of the protocol.
const (
	version    = 1
	headLength = 8
	maxContent = 65535
	// maxAligned is the longest content that needs no padding.
	maxAligned = maxContent &^ 7
)

type recordType uint8

const (
	typeBeginRequest    recordType = 1
	typeAbortRequest    recordType = 2
	typeEndRequest      recordType = 3
	typeParams          recordType = 4
	typeStdin           recordType = 5
	typeStdout          recordType = 6
	typeStderr          recordType = 7
	typeData            recordType = 8
	typeGetValues       recordType = 9
	typeGetValuesResult recordType = 10
	typeUnknownType     recordType = 11
)

// role is what an application is asked to be, FastCGI 1.0 section 6.
type role uint16

// The roles that are spoken here.
const (
	roleResponder  role = 1 // answers a request
	roleAuthorizer role = 2 // decides whether a request may be answered
)

// String returns the role as FCGI_ROLE has it.
func (r role) String() string {
	switch r {
	case roleResponder:
		return "RESPONDER"
	case roleAuthorizer:
		return "AUTHORIZER"
	}
	return fmt.Sprintf("ROLE-%d", uint16(r))
}

const flagKeepConn = 1

// Protocol status of END_REQUEST, section 5.5.
const (
	requestComplete = 0
	cantMultiplex   = 1
	overloaded      = 2
	unknownRole     = 3
)

// requestID is that of all requests: there is one at a time on a connection.
const requestID = 1

// recordHead is the head of a record, section 3.3.
type recordHead struct {
	kind    recordType
	id      uint16
	length  int // of the content
	padding int
}

// parseRecordHead reads the first 8 bytes of b.
func parseRecordHead(b []byte) (recordHead, error) {
	if b[0] != version {
		return recordHead{}, malformed("record of version %d", b[0])
	}
	return recordHead{
		kind:    recordType(b[1]),
		id:      binary.BigEndian.Uint16(b[2:]),
		length:  int(binary.BigEndian.Uint16(b[4:])),
		padding: int(b[6]),
	}, nil
}

// putRecordHead writes the head of a record of n bytes of content to b, and
// returns how many bytes of padding must follow it.
func putRecordHead(b []byte, kind recordType, id uint16, n int) (padding int) {
	padding = -n & 7
	b[0], b[1] = version, byte(kind)
	binary.BigEndian.PutUint16(b[2:], id)
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	b[6], b[7] = byte(padding), 0
	return padding
}

var zeros [8]byte

// appendRecord appends one record; content is not longer than maxContent.
func appendRecord(dst []byte, kind recordType, id uint16, content []byte) []byte {
	n := len(dst)
	dst = append(dst, zeros[:]...)
	padding := putRecordHead(dst[n:], kind, id, len(content))
	dst = append(dst, content...)
	return append(dst, zeros[:padding]...)
}

// appendStream appends data as the records of a stream, without its end.
func appendStream(dst []byte, kind recordType, id uint16, data []byte) []byte {
	for len(data) > 0 {
		n := min(len(data), maxAligned)
		dst = appendRecord(dst, kind, id, data[:n])
		data = data[n:]
	}
	return dst
}

// appendBegin appends BEGIN_REQUEST, section 5.1.
func appendBegin(dst []byte, role role, keep bool) []byte {
	body := [8]byte{0, byte(role)}
	if keep {
		body[2] = flagKeepConn
	}
	return appendRecord(dst, typeBeginRequest, requestID, body[:])
}

// endRequest is the content of END_REQUEST, section 5.5.
type endRequest struct {
	app      uint32
	protocol uint8
}

func parseEnd(b []byte) (endRequest, error) {
	if len(b) < 5 {
		return endRequest{}, malformed("END_REQUEST of %d bytes", len(b))
	}
	return endRequest{binary.BigEndian.Uint32(b), b[4]}, nil
}

// appendLength appends the length of a name or a value, section 3.4.
func appendLength(dst []byte, n int) []byte {
	if n < 128 {
		return append(dst, byte(n))
	}
	return binary.BigEndian.AppendUint32(dst, uint32(n)|1<<31)
}

// appendPair appends a name with its value.
func appendPair(dst []byte, name, value string) []byte {
	dst = appendLength(appendLength(dst, len(name)), len(value))
	return append(append(dst, name...), value...)
}

var errShortPair = errors.New("fcgi: name-value pair is cut off")

// parsePair reads one pair off b.
func parsePair(b []byte) (name, value string, rest []byte, err error) {
	n, b, ok := parseLength(b)
	if !ok {
		return "", "", nil, errShortPair
	}
	v, b, ok := parseLength(b)
	if !ok || uint64(n)+uint64(v) > uint64(len(b)) {
		return "", "", nil, errShortPair
	}
	return string(b[:n]), string(b[n : n+v]), b[n+v:], nil
}

func parseLength(b []byte) (n uint32, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	if b[0] < 128 {
		return uint32(b[0]), b[1:], true
	}
	if len(b) < 4 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint32(b) &^ (1 << 31), b[4:], true
}

// malformed is the error for an answer that is refused for its form.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{exchange.ErrMalformed}, args...)...)
}
