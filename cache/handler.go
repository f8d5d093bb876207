package cache

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// handler is a Cache in front of an http.Handler.
type handler struct {
	c       *Cache
	next    http.Handler
	forward bool // next is a forward proxy, which goes to where absolute targets say
}

// ServeHTTP answers from the store or else lets next answer.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = rfc9111.NamedCanonically(r)
	if err := exchange.CheckHost(r); err != nil {
		http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
		return
	}
	if passesBy(r) {
		h.c.counters.bypassed.Add(1)
		f := exchange.FactsOf(r, h.c.TrustedProxies)
		h.next.ServeHTTP(w, h.c.decided(r, &f))
		return
	}
	v := &visit{c: h.c, front: h, w: w}
	v.serve(r, r.ContentLength != 0)
	v.w = nil // what goes on in the background does not hold on to it
	if v.cut {
		panic(http.ErrAbortHandler)
	}
}

func (h *handler) place(v *visit, r *http.Request) { v.arrives(r, h.forward) }

// passesBy reports whether a request has nothing to do with caching: it wants
// the connection for something else. One that may change things is looked at all
// the same, since the upgrade it offers need not be taken.
func passesBy(r *http.Request) bool {
	return r.Method == http.MethodConnect || rfc9111.Safe(r.Method) && len(r.Header["Upgrade"]) > 0 && httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade")
}

func (h *handler) pass(v *visit, r *http.Request, head func(int, http.Header)) {
	o := &observer{ResponseWriter: v.w, head: head}
	h.next.ServeHTTP(o, r)
	o.see(http.StatusOK) // if it wrote nothing at all
}

// own does nothing: the flight has written to the client by itself.
func (h *handler) own(*visit, *flight) {}

func (h *handler) header(v *visit, _ int) http.Header { return v.w.Header() }

func (h *handler) respond(v *visit, _ http.Header, p plan, from source) {
	defer from.close()
	v.w.WriteHeader(p.status)
	if p.empty {
		return
	}
	var err error
	if from.stream != nil {
		err = p.follow(v.w, from.stream)
	} else {
		err = p.send(v.w, from.body, from.size)
	}
	if err != nil {
		v.cut = true // nobody may take a part for the whole, though others may still get it all
		return
	}
	if p.whole {
		sendTrailer(v.w, from.trailers())
	}
}

func (h *handler) refuse(v *visit) {
	v.mark(v.w.Header(), nil)
	http.Error(v.w, http.StatusText(http.StatusGatewayTimeout), http.StatusGatewayTimeout)
}

// observer passes an answer on and shows its head before it is sent. It keeps
// what net/http's writer can.
type observer struct {
	http.ResponseWriter
	head func(status int, header http.Header)
	seen bool
}

func (o *observer) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func (o *observer) WriteHeader(status int) {
	if status >= 200 {
		o.see(status)
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *observer) see(status int) {
	if !o.seen {
		o.seen = true
		o.head(status, o.Header())
	}
}

func (o *observer) Write(p []byte) (int, error) {
	o.see(http.StatusOK)
	return o.ResponseWriter.Write(p)
}

func (o *observer) ReadFrom(r io.Reader) (int64, error) {
	o.see(http.StatusOK)
	return copyFrom(o.ResponseWriter, r)
}

func (o *observer) FlushError() error {
	o.see(http.StatusOK)
	return http.NewResponseController(o.ResponseWriter).Flush()
}

// Flush is for those who know http.Flusher alone.
func (o *observer) Flush() { _ = o.FlushError() }

// Hijack hands the connection over.
func (o *observer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(o.ResponseWriter).Hijack()
	if err == nil {
		o.seen = true
	}
	return c, rw, err
}

// copyFrom copies by the writer's own means where it has any, which may be
// sendfile or splice.
func copyFrom(w http.ResponseWriter, r io.Reader) (int64, error) {
	if rf, ok := w.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, lent[:])
}
