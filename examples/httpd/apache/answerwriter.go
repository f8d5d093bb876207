package apache

import (
	"bufio"
	"cmp"
	"io"
	"net"
	"net/http"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/filter"
)

// answering puts what sections say of answers, filters and then the Header
// directives, behind a handler. Errors of this server go by the Header directives
// with always alone, see fail.
func (s *served) answering(next http.Handler) http.Handler {
	if len(s.header)+len(s.steps) == 0 && !s.setsVariables() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := visitOf(r)
		a := &answerWriter{ResponseWriter: w, served: s, visit: v, request: r}
		outer := v.through
		v.through = a
		whole := false
		defer func() {
			v.through = outer
			a.end(whole)
		}()
		next.ServeHTTP(a, r)
		whole = true
	})
}

// answerWriter changes an answer on its way to the client.
type answerWriter struct {
	http.ResponseWriter
	served  *served
	visit   *visit
	request *http.Request

	began  bool
	aside  bool            // what is answered is an error of this server
	cut    bool            // nothing reaches the client any more
	first  filter.Writer   // nil without filters
	all    []filter.Filter // in the order of the body
	err    error           // of a filter
	packed *filter.Packed  // by one of them; nil for none
}

// stepAside lets an error page pass as it is.
func (v *visit) stepAside() {
	if v.through != nil && !v.through.began {
		v.through.aside = true
	}
}

func (w *answerWriter) WriteHeader(code int) {
	if code >= 200 && !w.began {
		w.began = true
		if !w.aside {
			w.begin(code)
		}
	}
	w.began = w.began || code == http.StatusSwitchingProtocols
	w.ResponseWriter.WriteHeader(code)
}

// begin changes the header, and puts up the filters.
func (w *answerWriter) begin(code int) {
	h := w.Header()
	w.visit.answer, w.visit.status = h, code
	var bodies []bodyFilter
	for _, step := range w.served.steps {
		if body := step(w, code); body != nil {
			bodies = append(bodies, body)
		}
	}
	r := cmp.Or(w.visit.client, w.request)
	editAnswer(w.request.Context(), code, h, w.served.header, r)
	w.visit.steerAnswer(h)
	if len(bodies) == 0 || w.bodiless(code) {
		return
	}
	h.Del("Content-Length")
	var next filter.Writer = client{w}
	for i := len(bodies) - 1; i >= 0; i-- {
		f := bodies[i](next)
		w.all = append([]filter.Filter{f}, w.all...)
		next = f
	}
	w.first = next
}

// bodiless reports whether there is no body.
func (w *answerWriter) bodiless(code int) bool {
	return w.request.Method == http.MethodHead || code == http.StatusNoContent || code == http.StatusNotModified
}

func (w *answerWriter) Write(b []byte) (int, error) {
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	if w.first == nil {
		return w.ResponseWriter.Write(b)
	}
	n, err := w.first.Write(b)
	w.failed(err)
	return n, err
}

func (w *answerWriter) failed(err error) {
	if w.err == nil {
		w.err = err
	}
}

// ReadFrom lets a body that no filter changes go its shortest way.
func (w *answerWriter) ReadFrom(r io.Reader) (int64, error) {
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	if to, ok := w.ResponseWriter.(io.ReaderFrom); ok && w.first == nil {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{w}, r)
}

// FlushError hands on what filters can already tell.
func (w *answerWriter) FlushError() error {
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	if w.first != nil {
		err := w.first.Flush()
		w.failed(err)
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush is for those who know http.Flusher alone.
func (w *answerWriter) Flush() { _ = w.FlushError() }

// Hijack hands the connection over, and with it the answer.
func (w *answerWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.began = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// end ends the body, if it is whole. A cut one stays cut.
func (w *answerWriter) end(whole bool) {
	w.cut = !whole
	if whole && !w.began {
		w.WriteHeader(http.StatusOK) // a handler that writes nothing has said 200
	}
	for _, f := range w.all {
		err := f.Close()
		if w.failed(err); w.err != nil {
			w.cut = true
		}
	}
	if whole && w.err != nil {
		w.visit.host.logger.Error("filter of the answer failed", "path", w.visit.path, "error", w.err)
		panic(http.ErrAbortHandler)
	}
	if whole {
		w.served.noteRatio(w)
	}
}

// client is the end of the filters.
type client struct{ w *answerWriter }

func (c client) Write(b []byte) (int, error) {
	if c.w.cut {
		return len(b), nil
	}
	return c.w.ResponseWriter.Write(b)
}

func (c client) Flush() error {
	if c.w.cut {
		return nil
	}
	return http.NewResponseController(c.w.ResponseWriter).Flush()
}
