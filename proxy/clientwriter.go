package proxy

import (
	"bufio"
	"io"
	"io/fs"
	"math"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/copybuf"
)

// clientPiece bounds what is handed on at a time, so that a client that reads
// slowly is seen to read.
const clientPiece = 256 << 10

// clientWriter is the ResponseWriter of a client that is not waited for longer
// than its limits allow. Only writes and flushes wait for the client: what
// ReadFrom copies is waited for apart. It keeps what net/http's writer can.
type clientWriter struct {
	http.ResponseWriter
	limits *ClientLimits
	wait   *clientWait // nil before the first write
	from   io.Closer   // what is closed when the client has stalled; may be nil
	renews *clientWait // for the body of the request, which may pause while the answer moves; may be nil
	failed bool        // writing to the client has
}

func (w *clientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// stalled is told that the client has not read for too long.
func (w *clientWriter) stalled() {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
	if w.from != nil {
		_ = w.from.Close()
	}
}

// stalls reports whether the client has not read for too long.
func (w *clientWriter) stalls() bool { return w.wait != nil && w.wait.exceeded() }

// begin begins to wait for the client.
func (w *clientWriter) begin() error {
	limit := w.limits.timeout()
	if limit < 0 {
		return nil
	}
	if w.wait == nil {
		w.wait = w.limits.lend(w)
	}
	if !w.wait.begin(limit) {
		return exchange.ErrClientStalled
	}
	return nil
}

// done ends the wait, makes err tell if it was too long, and notes it.
func (w *clientWriter) done(err *error) {
	switch {
	case w.wait == nil:
	case !w.wait.end():
		*err = exchange.ErrClientStalled
	case w.renews != nil:
		w.renews.renew(w.limits.timeout())
	}
	w.failed = w.failed || *err != nil
}

// end is called when nothing is written any more.
func (w *clientWriter) end() {
	if w.wait != nil {
		w.limits.giveBack(w.wait)
		w.wait = nil
	}
}

// WriteHeader waits for the client only if code is that of an interim answer.
func (w *clientWriter) WriteHeader(code int) {
	if code < 200 {
		err := w.begin()
		if err != nil {
			return
		}
		defer w.done(&err)
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *clientWriter) Write(p []byte) (total int, err error) {
	for len(p) > clientPiece {
		n, err := w.writePiece(p[:clientPiece])
		total += n
		if err != nil {
			return total, err
		}
		p = p[n:]
	}
	n, err := w.writePiece(p)
	return total + n, err
}

func (w *clientWriter) writePiece(p []byte) (n int, err error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	defer w.done(&err)
	return w.ResponseWriter.Write(p)
}

// FlushError flushes, or says that it cannot.
func (w *clientWriter) FlushError() (err error) {
	if err := w.begin(); err != nil {
		return err
	}
	defer w.done(&err)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush is for those who know http.Flusher alone.
func (w *clientWriter) Flush() { _ = w.FlushError() }

// Hijack hands the connection over.
func (w *clientWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// ReadFrom lets the kernel move bytes from a socket or a file, as far as they
// can be read without waiting; what is neither is copied.
func (w *clientWriter) ReadFrom(r io.Reader) (total int64, err error) {
	left, src := int64(math.MaxInt64), r
	lr, limited := r.(*io.LimitedReader)
	if limited {
		left, src = lr.N, lr.R
	}
	rf, ok := w.ResponseWriter.(io.ReaderFrom)
	ready := readySource(src)
	if !ok || ready == nil {
		return copybuf.Writer{Writer: w}.ReadFrom(r)
	}
	piece := &io.LimitedReader{R: src}
	for left > 0 {
		have, err := ready.wait()
		if have == 0 || err != nil {
			return total, err
		}
		want := min(left, have, clientPiece)
		piece.N = want
		n, err := w.pass(rf, piece)
		total += n
		left -= want - piece.N
		if limited {
			lr.N = left
		}
		if err != nil || piece.N > 0 {
			return total, err
		}
	}
	return total, nil
}

// pass moves what is there.
func (w *clientWriter) pass(rf io.ReaderFrom, r io.Reader) (n int64, err error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	defer w.done(&err)
	return rf.ReadFrom(r)
}

// source tells how much can be read without waiting.
type source interface {
	// wait waits until something can be read, and returns how much; 0 at the
	// end.
	wait() (int64, error)
}

// readySource returns nil for what can only be read by waiting for it.
func readySource(r io.Reader) source {
	if s := newSocketSource(r); s != nil {
		return s
	}
	// What net takes for a file that the kernel can send.
	if f, ok := r.(interface {
		fs.File
		io.Seeker
		syscall.Conn
	}); ok {
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			return regularFile{}
		}
	}
	return nil
}

// regularFile is never waited for.
type regularFile struct{}

func (regularFile) wait() (int64, error) { return math.MaxInt64, nil }
