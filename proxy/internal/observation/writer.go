package observation

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/modproxy/modproxy/proxy/internal/copybuf"
)

// Writer counts what an answer sends. It keeps what net/http's writer
// can: ReadFrom, without which splicing is lost in silence, flushing,
// hijacking, and all else by Unwrap.
type Writer struct {
	http.ResponseWriter
	status   int // the final status; 0 before it is sent
	Sent     int64
	Hijacked bool
}

func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *Writer) WriteHeader(code int) {
	if w.status == 0 && (code >= 200 || code == http.StatusSwitchingProtocols) {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *Writer) Write(b []byte) (int, error) {
	w.began()
	n, err := w.ResponseWriter.Write(b)
	w.Sent += int64(n)
	return n, err
}

func (w *Writer) began() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}

func (w *Writer) ReadFrom(r io.Reader) (int64, error) {
	w.began()
	rf, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		rf = copybuf.Writer{Writer: w.ResponseWriter}
	}
	n, err := rf.ReadFrom(r)
	w.Sent += n
	return n, err
}

// FlushError flushes, or says that it cannot.
func (w *Writer) FlushError() error {
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if err == nil {
		w.began()
	}
	return err
}

// Flush is for those who know http.Flusher alone.
func (w *Writer) Flush() { _ = w.FlushError() }

// Hijack hands the connection over; what is sent after that is not counted.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.Hijacked = true
		if w.status == 0 {
			w.status = http.StatusSwitchingProtocols
		}
	}
	return c, rw, err
}
