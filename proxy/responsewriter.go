package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// countingWriter counts what an answer sends. It keeps what net/http's writer
// can: ReadFrom, without which splicing is lost in silence, flushing,
// hijacking, and all else by Unwrap.
type countingWriter struct {
	http.ResponseWriter
	status   int // the final status; 0 before it is sent
	sent     int64
	hijacked bool
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countingWriter) WriteHeader(code int) {
	if w.status == 0 && (code >= 200 || code == http.StatusSwitchingProtocols) {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *countingWriter) Write(b []byte) (int, error) {
	w.began()
	n, err := w.ResponseWriter.Write(b)
	w.sent += int64(n)
	return n, err
}

func (w *countingWriter) began() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}

func (w *countingWriter) ReadFrom(r io.Reader) (int64, error) {
	w.began()
	rf, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		rf = writerReaderFrom{Writer: w.ResponseWriter}
	}
	n, err := rf.ReadFrom(r)
	w.sent += n
	return n, err
}

// FlushError flushes, or says that it cannot.
func (w *countingWriter) FlushError() error {
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if err == nil {
		w.began()
	}
	return err
}

// Flush is for those who know http.Flusher alone.
func (w *countingWriter) Flush() { _ = w.FlushError() }

// Hijack hands the connection over; what is sent after that is not counted.
func (w *countingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked = true
		if w.status == 0 {
			w.status = http.StatusSwitchingProtocols
		}
	}
	return c, rw, err
}
