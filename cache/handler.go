package cache

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy"
)

// handler is a Cache in front of an http.Handler.
type handler struct {
	c       *Cache
	next    http.Handler
	forward bool // next is a forward proxy, which goes to where absolute targets say
}

// visit is a request on its way through the cache.
type visit struct {
	c      *Cache
	r      *http.Request
	key    string
	told   string // what the origin is told of the place, beside the key
	req    rfc9111.RequestDirectives
	result Result
	late   bool // what it wants was being stored already when it came
	leaves bool // it may be over before the flight that it has sent off
	cut    bool // the answer is not whole: the client's connection has to end
}

// reasonBody is why a GET, or a HEAD, has nothing to do with what is stored: no
// key tells what its body asks for.
const reasonBody = "a request to read that has a body"

// ServeHTTP answers from the store or else lets next answer.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := h.c
	r = rfc9111.NamedCanonically(r)
	if err := proxy.CheckHost(r); err != nil {
		http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
		return
	}
	if passesBy(r) {
		c.counters.bypassed.Add(1)
		h.next.ServeHTTP(w, r)
		return
	}
	bypass := c.Bypass != nil && c.Bypass(r)
	v := &visit{c: c}
	v.arrives(r, h.forward)
	switch {
	case r.Method == http.MethodGet && !bypass && r.ContentLength == 0:
		h.get(w, v)
	case r.Method == http.MethodHead && !bypass && r.ContentLength == 0:
		h.head(w, v)
	case !rfc9111.Safe(r.Method):
		h.change(w, v)
	default:
		h.pass(w, v, bypass)
	}
}

// passesBy reports whether a request has nothing to do with caching: it wants
// the connection for something else. One that may change things is looked at all
// the same, since the upgrade it offers need not be taken.
func passesBy(r *http.Request) bool {
	return r.Method == http.MethodConnect || rfc9111.Safe(r.Method) && len(r.Header["Upgrade"]) > 0 && httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade")
}

// pass lets a request pass that the cache has no part in.
func (h *handler) pass(w http.ResponseWriter, v *visit, bypass bool) {
	v.result.Outcome, v.result.forwarded = OutcomeBypass, rfc9111.FwdMethod
	v.result.Reason = "the method is not one that is cached"
	if bypass {
		v.result.forwarded, v.result.Reason = rfc9111.FwdBypass, "the cache is passed by"
	} else if v.r.ContentLength != 0 && (v.r.Method == http.MethodGet || v.r.Method == http.MethodHead) {
		v.result.forwarded, v.result.Reason = rfc9111.FwdBypass, reasonBody
	}
	h.c.counters.bypassed.Add(1)
	h.observe(w, v.r, func(status int, header http.Header) {
		v.result.forwardedStatus = status
		v.mark(header, nil)
	})
}

// get answers a GET.
func (h *handler) get(w http.ResponseWriter, v *visit) {
	r := v.r
	v.req = rfc9111.ParseRequestDirectives(r.Header)
	if rfc9111.WantsOrigin(r.Header) {
		v.result.forwarded = rfc9111.FwdRequest
		v.result.Reason = "a condition that only the origin can judge"
		h.observed(w, v)
		return
	}
	if l := v.c.look(r.Context(), v, time.Now()); l.Verdict != rfc9111.UseFresh || !v.hit(w, &l.found) {
		h.miss(w, v)
	}
	if v.cut {
		panic(http.ErrAbortHandler)
	}
}

// hit answers with a stored response, unless that is lost.
func (v *visit) hit(w http.ResponseWriter, f *found) bool {
	body, err := v.open(f)
	if err != nil {
		return false
	}
	v.countHit(f)
	v.sendFound(w, f, body)
	return true
}

// countHit notes that a stored response answers without the origin.
func (v *visit) countHit(f *found) {
	res := &v.result
	res.Outcome, res.Age, res.TTL = OutcomeHit, f.Age, f.Ttl
	res.Reason = "fresh in the cache"
	if res.Collapsed {
		v.countCollapsed()
		return
	}
	v.c.counters.hits.Add(1)
	switch {
	case f.Verdict == rfc9111.UseWhileRevalidating:
		res.Reason = "stale, and being validated"
	case f.Verdict == rfc9111.UseStale:
		res.Reason = "stale, as the request allows"
	}
	if f.Ttl <= 0 {
		res.Stale = true
		v.c.counters.stale.Add(1)
	}
}

// observed passes a request on whose answer is not stored.
func (h *handler) observed(w http.ResponseWriter, v *visit) {
	v.result.Outcome = OutcomeMiss
	v.c.counters.misses.Add(1)
	h.observe(w, v.r, func(status int, header http.Header) {
		v.result.forwardedStatus = status
		v.mark(header, nil)
	})
}

// observe lets next answer and shows the head of that.
func (h *handler) observe(w http.ResponseWriter, r *http.Request, head func(int, http.Header)) {
	o := &observer{ResponseWriter: w, head: head}
	h.next.ServeHTTP(o, r)
	o.see(http.StatusOK) // if it wrote nothing at all
}

// sendFound sends a stored response, or the part of it that was asked for.
func (v *visit) sendFound(w http.ResponseWriter, f *found, body store.Body) {
	if body != nil {
		defer body.Close()
	}
	h := w.Header()
	p := v.plan(h, f.meta, f.facts)
	setAge(h, f.Age)
	v.mark(h, f.facts)
	w.WriteHeader(p.status)
	if body == nil || p.empty {
		return
	}
	if err := p.send(w, body, f.entry.Size()); err != nil {
		v.broken()
		return
	}
	if p.whole {
		sendTrailer(w, f.meta.Trailer)
	}
}

// open returns the body of a stored response; nil for HEAD.
func (v *visit) open(f *found) (store.Body, error) {
	if v.r.Method == http.MethodHead {
		return nil, nil
	}
	body, err := f.entry.Open()
	if err != nil {
		v.c.storeFailed(v.r.Context(), "open", err)
		_ = v.c.store.Remove(v.r.Context(), f.entry)
		v.c.counters.lost.Add(1)
		return nil, err
	}
	v.c.storeWorked(v.r.Context(), "open")
	return body, nil
}

// broken notes that an answer cannot be completed, so that nobody takes a part
// for the whole. Where it is the leader's, others may still get theirs.
func (v *visit) broken() {
	ctx := v.r.Context()
	v.cut = ctx.Err() == nil && ctx.Value(http.ServerContextKey) != nil // else the client has left
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
	return readFrom(o.ResponseWriter, r)
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

// readFrom copies by the writer's own means where it has any, which may be
// sendfile or splice.
func readFrom(w http.ResponseWriter, r io.Reader) (int64, error) {
	if rf, ok := w.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	lent := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(lent)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, lent[:])
}
