package cache

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
)

const copyBufferSize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

// plan is what is sent of a stored response.
type plan struct {
	status int
	empty  bool // no body
	whole  bool
	pieces []piece // if not whole
}

// piece is some text, and then some bytes of the stored body.
type piece struct {
	text       string
	offset, n  int64 // as they are stored
	start, end int64 // as they are in the complete body
}

// plan fills in the header of an answer with a stored response, and tells what
// of the body to send: RFC 9111 sections 3.3, 4.3.2, RFC 9110 section 14.
func (v *visit) plan(h http.Header, m *store.Meta, f *rfc9111.Facts) plan {
	for name, values := range m.Header {
		setField(h, name, values)
	}
	if _, ok := m.Header["Content-Type"]; !ok {
		h["Content-Type"] = nil // or net/http would guess one
	}
	r := v.r
	if f.NotModified(r.Header) {
		dropBodyFields(h)
		return plan{status: http.StatusNotModified, empty: true}
	}
	p := plan{status: m.Status, whole: true, empty: r.Method == http.MethodHead || !bodyAllowed(m.Status)}
	if r.Method == http.MethodGet && len(r.Header["Range"]) > 0 && (m.Status == http.StatusOK || m.Status == http.StatusPartialContent) {
		v.planRanges(h, m, f, &p)
	}
	return p
}

// planRanges answers a request with Range.
func (v *visit) planRanges(h http.Header, m *store.Meta, f *rfc9111.Facts, p *plan) {
	specs, ok := rfc9111.ParseRange(v.r.Header)
	if !ok || !f.IfRange(v.r.Header) {
		return
	}
	parts, whole, ok := rfc9111.StoredRanges(m, specs)
	if !ok || whole {
		return
	}
	p.whole = false
	delete(h, "Content-Length")
	if len(parts) == 0 {
		p.status, p.empty = http.StatusRequestedRangeNotSatisfiable, true
		dropBodyFields(h)
		h["Content-Range"] = []string{rfc9111.Unsatisfied(m.Length)}
		h["Content-Length"] = []string{"0"}
		return
	}
	p.status = http.StatusPartialContent
	have := rfc9111.Coverage(m)
	if len(parts) == 1 {
		one := parts[0]
		h["Content-Range"] = []string{rfc9111.ContentRange(one, m.Length)}
		h["Content-Length"] = []string{strconv.FormatInt(one.End-one.Start, 10)}
		p.pieces = []piece{{"", rfc9111.OffsetOf(have, one.Start), one.End - one.Start, one.Start, one.End}}
		return
	}
	contentType := ""
	if ct := h["Content-Type"]; len(ct) > 0 {
		contentType = ct[0]
	}
	multi := rfc9111.NewMultipart(parts, m.Length, contentType, boundary())
	h["Content-Type"] = []string{multi.ContentType}
	h["Content-Length"] = []string{strconv.FormatInt(multi.Length, 10)}
	for i, part := range parts {
		p.pieces = append(p.pieces, piece{multi.Heads[i], rfc9111.OffsetOf(have, part.Start), part.End - part.Start, part.Start, part.End})
	}
	p.pieces = append(p.pieces, piece{text: multi.Tail})
}

func boundary() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// bodyAllowed reports whether an answer with a status has a body.
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// dropBodyFields takes out what describes a body that is not sent: RFC 9110
// section 15.4.5.
func dropBodyFields(h http.Header) {
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Language", "Content-Range", "Content-Digest", "Digest"} {
		delete(h, name)
	}
	h["Content-Type"] = nil
}

// setField puts a field into an answer's header, over what an outer handler has
// put there but for fields that add up.
func setField(h http.Header, name string, values []string) {
	if have := h[name]; len(have) > 0 && (name == "Vary" || name == "Set-Cookie" || name == "Link") {
		values = append(have[:len(have):len(have)], values...)
	}
	h[name] = values
}

// setAge tells the age of a stored response: RFC 9111 section 5.1.
func setAge(h http.Header, age time.Duration) {
	h["Age"] = []string{strconv.FormatInt(max(int64(age/time.Second), 0), 10)}
}

// send writes what was planned, from a stored body.
func (p *plan) send(w http.ResponseWriter, body store.Body, size int64) error {
	if p.whole {
		return sendWhole(w, body, size)
	}
	for _, one := range p.pieces {
		if one.text != "" {
			if _, err := io.WriteString(w, one.text); err != nil {
				return err
			}
		}
		if one.n == 0 {
			continue
		}
		if _, err := body.Seek(one.offset, io.SeekStart); err != nil {
			return err
		}
		if err := sendSome(w, body, one.n); err != nil {
			return err
		}
	}
	return nil
}

func sendWhole(w http.ResponseWriter, body store.Body, size int64) error {
	wt, ok := body.(io.WriterTo)
	if !ok {
		return sendSome(w, body, size)
	}
	n, err := wt.WriteTo(w)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func sendSome(w http.ResponseWriter, body store.Body, n int64) error {
	if n == 0 {
		return nil
	}
	var sent int64
	var err error
	if pw, ok := body.(store.PieceWriter); ok {
		sent, err = pw.WritePiece(w, n)
	} else {
		sent, err = copyFrom(w, &io.LimitedReader{R: body, N: n})
	}
	if err == nil && sent != n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// sendTrailer sends trailer fields behind a chunked body.
func sendTrailer(w http.ResponseWriter, trailer http.Header) {
	if len(trailer) == 0 {
		return
	}
	_ = http.NewResponseController(w).Flush() // or a short body gets a length, and no trailer
	h := w.Header()
	for name, values := range trailer {
		h[http.TrailerPrefix+name] = values
	}
}

// follow writes what was planned from a body that is still coming in. Whenever
// nothing more is there, the client gets what was written.
func (p *plan) follow(w http.ResponseWriter, r *streamReader) error {
	flusher := http.NewResponseController(w)
	r.pause = func() { _ = flusher.Flush() }
	if p.whole {
		return copyStream(w, r)
	}
	for _, one := range p.pieces {
		if one.text != "" {
			if _, err := io.WriteString(w, one.text); err != nil {
				return err
			}
		}
		if one.n == 0 {
			continue
		}
		r.seek(one.start, one.end)
		if err := copyStream(w, r); err != nil {
			return err
		}
	}
	return nil
}

func copyStream(w io.Writer, r *streamReader) error {
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	for {
		n, err := r.Read(lent[:])
		if n > 0 {
			if _, err := w.Write(lent[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// planReader reads what was planned, for those who want a Reader.
type planReader struct {
	p    plan
	from source

	text   string
	left   int64
	at     int
	err    error
	closed atomic.Bool
	atEnd  func() // called once when all was read; may be nil
}

func (r *planReader) Read(b []byte) (int, error) {
	for {
		switch {
		case r.closed.Load():
			return 0, http.ErrBodyReadAfterClose
		case r.err != nil:
			return 0, r.err
		case r.text != "":
			n := copy(b, r.text)
			r.text = r.text[n:]
			return n, nil
		case r.left != 0: // negative: to the end
			return r.readSome(b)
		case !r.next():
			if r.err = io.EOF; r.atEnd != nil {
				r.atEnd()
			}
		}
	}
}

func (r *planReader) readSome(b []byte) (int, error) {
	if r.left > 0 {
		b = b[:min(int64(len(b)), r.left)]
	}
	src := io.Reader(r.from.body)
	if r.from.stream != nil {
		src = r.from.stream
	}
	n, err := src.Read(b)
	if r.left > 0 {
		r.left -= int64(n)
	}
	if err == io.EOF {
		if r.left > 0 {
			err = io.ErrUnexpectedEOF
		} else {
			r.left, err = 0, nil
		}
	}
	if err != nil {
		r.err = err
	}
	return n, err
}

// next goes to the next piece.
func (r *planReader) next() bool {
	if r.p.empty || r.at > 0 && r.p.whole || !r.p.whole && r.at == len(r.p.pieces) {
		return false
	}
	if r.p.whole {
		if r.at, r.left = 1, r.from.size; r.from.stream != nil {
			r.left = -1
		}
		return r.left != 0
	}
	one := r.p.pieces[r.at]
	r.at++
	r.text, r.left = one.text, one.n
	if one.n == 0 {
		return true
	}
	if r.from.stream != nil {
		r.from.stream.seek(one.start, one.end)
	} else if _, err := r.from.body.Seek(one.offset, io.SeekStart); err != nil {
		r.err = err
	}
	return true
}

func (r *planReader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	return r.from.close()
}
