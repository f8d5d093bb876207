package cache

import (
	"bufio"
	"context"
	"io"
	"iter"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/proxy/exchange"
)

func (h *handler) fetch(v *visit, f *flight) {
	w := &fetchWriter{f: f, v: v, header: make(http.Header), declared: -1}
	defer w.release()
	h.next.ServeHTTP(w, f.out)
	w.finish()
}

// fetchWriter is the ResponseWriter that a handler behind the cache answers to.
// The answer goes to the store, from which the clients read it, or else to the
// leader's own writer.
type fetchWriter struct {
	f      *flight
	v      *visit
	header http.Header
	status int // 0 before it is known
	mode   mode

	declared int64 // Content-Length; -1: none
	written  int64
	direct   http.ResponseWriter // in modeDirect; nil if there is no client
	stop     func() bool
	hijacked bool
}

func (w *fetchWriter) Header() http.Header { return w.header }

// Unwrap returns the client's own writer, if the answer goes there.
func (w *fetchWriter) Unwrap() http.ResponseWriter { return w.direct }

func (w *fetchWriter) WriteHeader(status int) {
	switch {
	case w.status != 0:
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		w.interim(status)
	default:
		w.status = status
		if _, ok := w.header["Content-Type"]; ok || !bodyAllowed(status) {
			w.decide(nil)
		}
	}
}

// interim passes an interim answer to the leader alone: RFC 9110 section 15.2.
func (w *fetchWriter) interim(status int) {
	f := w.f
	f.mu.Lock()
	client := f.client // the leader's handler does not return before the flight has ended
	f.mu.Unlock()
	if client == nil || !w.v.r.ProtoAtLeast(1, 1) {
		return
	}
	exchange.WriteInterim(client, status, w.header)
}

// decide gives the head to the flight and does what it says. first is the
// beginning of the body, from which a missing Content-Type is guessed, as
// net/http would.
func (w *fetchWriter) decide(first []byte) {
	if w.mode != modeUndecided {
		return
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	h := w.header.Clone()
	if _, ok := h["Content-Type"]; !ok && len(first) > 0 && len(h["Content-Encoding"]) == 0 {
		h["Content-Type"] = []string{http.DetectContentType(first)}
	}
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			delete(h, name)
		}
	}
	w.declared = declaredLength(h)
	if w.mode = w.f.head(w.status, h, w.declared); w.mode == modeDirect {
		w.takeClient(h)
	}
}

// declaredLength is the value of Content-Length; -1 without one.
func declaredLength(h http.Header) int64 {
	if cl := h["Content-Length"]; len(cl) == 1 {
		if n, err := strconv.ParseUint(cl[0], 10, 63); err == nil {
			return int64(n)
		}
	}
	return -1
}

// takeClient turns to the leader's writer and sends the head.
func (w *fetchWriter) takeClient(h http.Header) {
	f, v := w.f, w.v
	client := f.takeClient()
	if client == nil {
		w.mode = modeDiscard
		f.cancel() // nobody is there to have it
		return
	}
	w.direct = client
	w.stop = context.AfterFunc(f.leader, f.cancel)
	v.countOwn(f)
	to := client.Header()
	for name, values := range h {
		setField(to, name, values)
	}
	v.mark(to, nil)
	if !w.hijacked {
		client.WriteHeader(w.status)
	}
}

// takeClient lends the leader's writer until the flight has ended; nil when the
// client has left, or there was none.
func (f *flight) takeClient() http.ResponseWriter {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.hasClient {
		return nil
	}
	f.directing = true
	return f.client
}

func (w *fetchWriter) Write(p []byte) (int, error) {
	w.decide(p)
	switch w.mode {
	case modeDirect:
		return w.direct.Write(p)
	case modeDiscard:
		if w.written += int64(len(p)); w.written > windowSize {
			w.f.cancel()
			return 0, errAbandoned
		}
		return len(p), nil
	}
	if !bodyAllowed(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if w.declared >= 0 && w.written+int64(len(p)) > w.declared {
		return 0, http.ErrContentLength
	}
	n, err := w.f.body.Write(p)
	w.written += int64(n)
	return n, err
}

// ReadFrom copies, by the client's own means where the answer goes there.
func (w *fetchWriter) ReadFrom(r io.Reader) (total int64, err error) {
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	for {
		if w.mode == modeDirect {
			n, err := copyFrom(w.direct, r)
			return total + n, err
		}
		n, rerr := r.Read(lent[:])
		if n > 0 {
			m, werr := w.Write(lent[:n])
			total += int64(m)
			if werr != nil {
				return total, werr
			}
		}
		if rerr == io.EOF {
			return total, nil
		}
		if rerr != nil {
			return total, rerr
		}
	}
}

// FlushError sends what was written. In the store it is there for all at once.
func (w *fetchWriter) FlushError() error {
	w.decide(nil)
	if w.mode == modeDirect {
		return http.NewResponseController(w.direct).Flush()
	}
	return nil
}

// Flush is for those who know http.Flusher alone.
func (w *fetchWriter) Flush() { _ = w.FlushError() }

// Hijack hands the leader's connection over.
func (w *fetchWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.mode == modeUndecided {
		f := w.f
		f.header, f.why = w.header, rfc9111.RefusedUpgrade
		w.mode, w.hijacked = modeDirect, true
		f.decide(outcomeDirect)
		if w.direct = f.takeClient(); w.direct == nil {
			w.mode = modeDiscard
		}
	}
	if w.mode != modeDirect {
		return nil, nil, http.ErrNotSupported
	}
	return http.NewResponseController(w.direct).Hijack()
}

// control does something to the leader's connection, if there still is one.
func (w *fetchWriter) control(do func(*http.ResponseController) error) error {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	if !w.f.hasClient {
		return nil
	}
	return do(http.NewResponseController(w.f.client))
}

// SetReadDeadline is for http.ResponseController.
func (w *fetchWriter) SetReadDeadline(t time.Time) error {
	return w.control(func(c *http.ResponseController) error { return c.SetReadDeadline(t) })
}

// SetWriteDeadline is for http.ResponseController.
func (w *fetchWriter) SetWriteDeadline(t time.Time) error {
	return w.control(func(c *http.ResponseController) error { return c.SetWriteDeadline(t) })
}

// EnableFullDuplex is for http.ResponseController.
func (w *fetchWriter) EnableFullDuplex() error {
	return w.control((*http.ResponseController).EnableFullDuplex)
}

// finish ends the answer when the handler has returned.
func (w *fetchWriter) finish() {
	w.decide(nil)
	switch w.mode {
	case modeStore:
		if w.declared >= 0 && w.written != w.declared && bodyAllowed(w.status) {
			w.f.fail(io.ErrUnexpectedEOF)
			return
		}
		w.f.finish(w.trailer())
	case modeDirect:
		if !w.hijacked {
			w.passTrailer()
		}
	}
}

// release takes back what takeClient has set.
func (w *fetchWriter) release() {
	if w.stop != nil {
		w.stop()
	}
}

// trailer is the trailer fields that the handler has set, announced or by
// http.TrailerPrefix.
func (w *fetchWriter) trailer() (t http.Header) {
	for name, values := range w.trailers() {
		name = http.CanonicalHeaderKey(strings.TrimPrefix(name, http.TrailerPrefix))
		if len(values) == 0 || rfc9111.ForOneHop(exchange.HopByHop{}, name) {
			continue
		}
		if t == nil {
			t = make(http.Header)
		}
		t[name] = values
	}
	return t
}

// passTrailer gives the client the trailer fields, as the handler gave them.
func (w *fetchWriter) passTrailer() { maps.Insert(w.direct.Header(), w.trailers()) }

// trailers are the fields for the trailer under the names that the handler gave
// them: those that it announced, and those with http.TrailerPrefix.
func (w *fetchWriter) trailers() iter.Seq2[string, []string] {
	return func(yield func(string, []string) bool) {
		for _, line := range w.header["Trailer"] {
			for name := range strings.SplitSeq(line, ",") {
				name = http.CanonicalHeaderKey(strings.TrimSpace(name))
				if values, ok := w.header[name]; ok && !yield(name, values) {
					return
				}
			}
		}
		for name, values := range w.header {
			if strings.HasPrefix(name, http.TrailerPrefix) && !yield(name, values) {
				return
			}
		}
	}
}
