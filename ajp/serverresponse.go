package ajp

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// heldSize is how much of an answer is held back to see whether that is all of
// it, so that its length can be told; as in net/http.
const heldSize = 2048

// chunkHead is what comes before the data of a SEND_BODY_CHUNK packet, and
// chunkTail what comes behind.
const (
	chunkHead = headSize + 3
	chunkTail = 1
)

// response is the ResponseWriter of a [Server]. Like that of net/http, it may
// be used by one goroutine at a time, while another reads the request's body.
type response struct {
	c      *serverConn
	r      *http.Request
	body   *serverBody // nil if the request has none
	header http.Header
	last   bool // the connection is not used again

	status    int   // 0 before WriteHeader
	length    int64 // announced; negative if it was not
	written   int64
	fields    http.Header // as they were at WriteHeader
	committed bool        // the head is in c.out or beyond
	over      bool        // the handler has returned
	broken    error       // the answer cannot be completed
	held      []byte
}

// Header returns the fields to be sent.
func (w *response) Header() http.Header { return w.header }

// WriteHeader fixes the status and the fields.
func (w *response) WriteHeader(status int) {
	if w.over || w.status != 0 {
		return
	}
	if status < 100 || status > 999 {
		panic("ajp: invalid status " + strconv.Itoa(status))
	}
	if status < 200 {
		if w.c.s.SendInterim && status != http.StatusSwitchingProtocols {
			w.interim(status)
		}
		return
	}
	w.status, w.length = status, -1
	w.fields = w.header.Clone()
	if v := w.fields["Content-Length"]; len(v) > 0 {
		n, err := strconv.ParseInt(v[0], 10, 64)
		if err != nil || n < 0 {
			delete(w.fields, "Content-Length")
		} else {
			w.length = n
		}
	}
}

func (w *response) interim(status int) {
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	var ok bool
	if c.out, ok = appendSendHeaders(c.out, status, w.header, c.size); ok {
		_ = c.flush()
	}
}

// bodyAllowed reports whether the status allows a body.
func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

// Write sends a part of the body, after the head with status 200 unless
// another was set.
func (w *response) Write(p []byte) (int, error) {
	if err := w.may(len(p)); err != nil {
		return 0, err
	}
	if w.r.Method == http.MethodHead {
		return len(p), nil
	}
	if !w.committed && len(w.held)+len(p) <= heldSize {
		w.held = append(w.held, p...)
		return len(p), nil
	}
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	w.commit(p, false)
	if err := w.send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString is Write.
func (w *response) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// may reports whether n bytes may be written, and counts them.
func (w *response) may(n int) error {
	if w.over {
		return http.ErrHandlerTimeout
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !bodyAllowed(w.status) && n > 0 {
		return http.ErrBodyNotAllowed
	}
	if w.broken != nil {
		return w.broken
	}
	w.written += int64(n)
	if w.length >= 0 && w.written > w.length && w.r.Method != http.MethodHead {
		w.written -= int64(n)
		return http.ErrContentLength
	}
	return nil
}

// commit puts the head, and what was held back, where it will be written. more
// is what comes next of the body; all says that the answer is complete. The
// caller holds c.mu.
func (w *response) commit(more []byte, all bool) {
	if w.committed {
		return
	}
	w.committed = true
	h := w.fields
	hasBody := bodyAllowed(w.status)
	if hasBody && all && w.length < 0 && w.r.Method != http.MethodHead {
		h["Content-Length"] = []string{strconv.Itoa(len(w.held))}
	}
	if !hasBody && w.status == http.StatusNoContent {
		delete(h, "Content-Length")
	}
	if _, told := h["Content-Type"]; !told && hasBody && h["Content-Encoding"] == nil {
		if sample := append(w.held[:len(w.held):len(w.held)], more[:min(len(more), 512)]...); len(sample) > 0 {
			h["Content-Type"] = []string{http.DetectContentType(sample)}
		}
	}
	c := w.c
	var ok bool
	if c.out, ok = appendSendHeaders(c.out, w.status, h, c.size); !ok {
		if c.s.Logger != nil {
			c.s.Logger.ErrorContext(w.r.Context(), "ajp: head of an answer does not fit a packet", "size", c.size, "path", w.r.URL.Path)
		}
		w.broken = errHeadTooLarge
		w.held = nil
		c.out, _ = appendSendHeaders(c.out, http.StatusInternalServerError, nil, c.size)
		return
	}
	held := w.held
	w.held = nil
	_ = w.send(held)
}

// send puts data into packets, and writes those when they are enough. The
// caller holds c.mu.
func (w *response) send(p []byte) error {
	c := w.c
	if w.broken != nil {
		return w.broken
	}
	most := c.size - chunkHead - chunkTail
	for len(p) > 0 && c.werr == nil {
		n := min(len(p), most)
		c.out = appendChunk(c.out, p[:n])
		p = p[n:]
		if len(c.out)+c.size > outSize {
			_ = c.flush()
		}
	}
	return c.werr
}

// appendChunk appends a SEND_BODY_CHUNK packet.
func appendChunk(b, data []byte) []byte {
	n := len(data)
	b = append(b, 0x41, 0x42, byte((n+4)>>8), byte(n+4), typeSendBodyChunk, byte(n>>8), byte(n))
	b = append(b, data...)
	return append(b, 0)
}

// Flush sends what was written so far, and has the proxy do so too.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is Flush that tells of failure.
func (w *response) FlushError() error {
	if w.over {
		return http.ErrHandlerTimeout
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	w.commit(nil, false)
	if w.broken == nil && bodyAllowed(w.status) && w.r.Method != http.MethodHead {
		c.out = appendChunk(c.out, nil)
	}
	return c.flush()
}

// SetReadDeadline is for an http.ResponseController. It lasts until the next
// packet of the body is waited for.
func (w *response) SetReadDeadline(t time.Time) error {
	w.c.limited.Store(true)
	return w.c.nc.SetReadDeadline(t)
}

// SetWriteDeadline is for an http.ResponseController.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.c.timed = !t.IsZero()
	return w.c.nc.SetWriteDeadline(t)
}

// EnableFullDuplex is for an http.ResponseController. The body can always be
// read while the answer is written.
func (w *response) EnableFullDuplex() error { return nil }

// finish completes the answer, and reports whether the connection can be used
// again.
func (w *response) finish() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.over = true
	clean := w.body == nil || w.body.retire()
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	w.commit(nil, true)
	if w.length >= 0 && w.written < w.length && w.r.Method != http.MethodHead && bodyAllowed(w.status) && w.broken == nil {
		_ = c.flush()
		return false // no END_RESPONSE: nobody shall take a part for the whole
	}
	again := clean && !w.last && !c.s.closing.Load()
	c.out = append(c.out, 0x41, 0x42, 0, 2, typeEndResponse, boolean(again))
	err := c.flush()
	if c.timed {
		c.timed = false
		_ = c.nc.SetWriteDeadline(time.Time{})
	}
	if err == nil && !again {
		c.linger()
	}
	return again && err == nil
}

// appendSendHeaders appends a SEND_HEADERS packet; ok is false, and nothing
// appended, if it would be longer than size.
func appendSendHeaders(b []byte, status int, h http.Header, size int) (_ []byte, ok bool) {
	start := len(b)
	b = appendHead(b)
	b = append(b, typeSendHeaders)
	b = appendInt(b, status)
	b = appendString(b, http.StatusText(status))
	at := len(b)
	b = appendInt(b, 0)
	n := 0
	for name, values := range h {
		switch name {
		case "Connection", "Keep-Alive", "Transfer-Encoding", "Trailer", "Upgrade", "Proxy-Connection":
			continue // of a connection of HTTP
		}
		code := responseNameCode(name)
		if code == 0 && (!httpguts.ValidHeaderFieldName(name) || len(name) >= nameCode) {
			continue
		}
		for _, v := range values {
			if len(v) > maxString || len(b)-start > size {
				return b[:start], false
			}
			if code != 0 {
				b = appendInt(b, code)
			} else {
				b = appendString(b, name)
			}
			if !httpguts.ValidHeaderFieldValue(v) {
				v = strings.Map(blankControls, v)
			}
			b = appendString(b, v)
			n++
		}
	}
	if len(b)-start > size {
		return b[:start], false
	}
	putInt(b[at:], n)
	putHead(b[start:], toProxy, len(b)-start-headSize)
	return b, true
}

// blankControls replaces what must not stand in a value.
func blankControls(r rune) rune {
	if r < ' ' && r != '\t' || r == 0x7f {
		return ' '
	}
	return r
}
