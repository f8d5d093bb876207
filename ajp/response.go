package ajp

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// answerHead is what a SEND_HEADERS packet says.
type answerHead struct {
	status int
	reason string
	header http.Header
}

// parseSendHeaders reads the payload of a SEND_HEADERS packet, behind its
// type, and refuses what could be read in two ways.
func parseSendHeaders(payload string, h *answerHead) error {
	d := decoder{s: payload}
	h.status = d.int()
	h.reason, _ = d.string()
	n := d.int()
	if d.err != nil {
		return d.err
	}
	if h.status < 100 || h.status > 999 {
		return malformed("status is not three digits")
	}
	if !httpguts.ValidHeaderFieldValue(h.reason) {
		return malformed("reason has control bytes")
	}
	header, err := d.fields(n, responseNames[:])
	if err == nil && d.s != "" {
		err = malformed("bytes behind the fields")
	}
	h.header = header
	return err
}

// statusLine returns status and reason as http.Response has them. Tomcat sends
// the number, or nothing, in place of a reason.
func (h *answerHead) statusLine() string {
	number := strconv.Itoa(h.status)
	reason := h.reason
	if reason == "" || reason == number {
		reason = http.StatusText(h.status)
		if h.status == http.StatusOK {
			return "200 OK"
		}
	}
	return number + " " + reason
}

// contentLength returns the length that the answer announces, or -1.
func (h *answerHead) contentLength() (int64, error) {
	values, ok := h.header["Content-Length"]
	if !ok {
		return -1, nil
	}
	length := int64(-1)
	for _, v := range values {
		if v == "" || len(v) > 18 || strings.Trim(v, "0123456789") != "" {
			return 0, malformed("Content-Length is no number")
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || length >= 0 && n != length {
			return 0, malformed("conflicting values of Content-Length")
		}
		length = n
	}
	if len(values) > 1 {
		h.header["Content-Length"] = values[:1]
	}
	return length, nil
}

// bodyFraming is an attempt in the body of its answer: the data of
// SEND_BODY_CHUNK packets up to END_RESPONSE.
type bodyFraming attempt

// Next is part of [exchange.Framing].
func (x *bodyFraming) Next(p []byte) (used int, content int64, err error) {
	for {
		n := min(x.skip, len(p)-used)
		x.skip -= n
		used += n
		if x.skip > 0 || len(p)-used < headSize+1 {
			return used, 0, nil
		}
		kind, length, err := packetHead(p[used:], x.size)
		if err != nil {
			return used, 0, err
		}
		head := p[used:]
		if n = bodyPacketHead(kind); len(head) < n {
			return used, 0, nil
		}
		used += n
		if content, err = x.take(kind, length, head[:n]); err != nil || content > 0 {
			return used, content, err
		}
	}
}

// bodyPacketHead is the length of what comes before the data of a packet, or
// of all of one without data.
func bodyPacketHead(kind byte) int {
	switch kind {
	case typeSendBodyChunk, typeGetBodyChunk:
		return headSize + 3
	case typeEndResponse:
		return headSize + 2
	}
	return headSize + 1
}

// take acts on a packet whose head has come.
func (x *bodyFraming) take(kind byte, length int, head []byte) (content int64, err error) {
	switch kind {
	case typeSendBodyChunk:
		chunk := getInt(head[headSize+1:])
		if x.skip, err = chunkData(length, chunk); err != nil {
			return 0, err
		}
		if x.none {
			x.skip += chunk
			return 0, nil
		}
		if x.left >= 0 {
			if x.left -= int64(chunk); x.left < 0 {
				return 0, malformed("body is longer than its Content-Length")
			}
		}
		return int64(chunk), nil
	case typeEndResponse:
		if x.left > 0 && !x.none {
			return 0, io.ErrUnexpectedEOF
		}
		x.reuse = head[headSize+1] != 0
		return 0, io.EOF
	case typeGetBodyChunk:
		return 0, (*attempt)(x).feed(getInt(head[headSize+1:]))
	}
	return 0, malformed("packet of type %d in the body of the answer", kind)
}

// End is part of [exchange.Framing].
func (x *bodyFraming) End(err error, reusable bool) error {
	if err == io.EOF {
		(*attempt)(x).release(reusable && x.reuse)
		return io.EOF
	}
	return (*attempt)(x).fail(&exchange.Error{Op: exchange.OpBody, Err: err})
}

// Rest is part of [exchange.Framing].
func (x *bodyFraming) Rest(limit int64) bool {
	return (x.none || x.left <= limit) && x.r.Context().Err() == nil
}

// Drop is part of [exchange.Framing].
func (x *bodyFraming) Drop() { (*attempt)(x).release(false) }
