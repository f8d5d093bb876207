package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/clientaddr"
	"github.com/modproxy/modproxy/proxy/internal/contextkey"
	"github.com/modproxy/modproxy/proxy/internal/observation"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// passage is one request on its way through a Handler. It is the context of
// the outgoing request as well, so that transports find the record, the trace
// and the client without a context for each.
type passage struct {
	context.Context
	h      *Handler
	w      http.ResponseWriter
	in     *http.Request
	out    *http.Request
	outURL url.URL
	to     clientWriter // w, within limits
	body   *requestBody // nil without a request body
	resp   *http.Response
	facts  exchange.Facts
	record exchange.Record
	outer  *observation.Observation // nil if nobody observes the request from outside
	passageHooks
	values [8]string // behind the values of single fields that are added
	used   int
	odd    []string // names of the client's fields that are not plain

	back     closeOnce  // the body of the backend's answer
	replaced bool       // ModifyResponse has put another body into the answer
	length   int64      // ContentLength before ModifyResponse
	lengths  []string   // and Content-Length
	declared int64      // what the head announces, if that is not sure to be right; else negative
	put      *putBodies // what Rewrite has put in place of the client's body, or nil
	left     bool       // nobody reads from the client any more
	foreign  bool       // the answer is of a transport that is none of ours

	upgrade string // the protocol asked for; empty if none may be

	mu    sync.Mutex // held while an interim answer is written
	final bool       // no interim answers any more
	cache string     // what a cache between the handler and the backend did

	notStored string // why that has not stored the answer
	sent      bool   // the head of the answer is sent
}

// Value answers for what the passage knows, and the client's context for the
// rest.
func (p *passage) Value(key any) any { return p.value(key, p.Context) }

// value is Value with another context for the rest.
func (p *passage) value(key any, rest context.Context) any {
	switch key {
	case contextkey.Record{}:
		return &p.record
	case contextkey.Passage{}, contextkey.Hooks{}:
		return p
	case contextkey.ClientRequest{}:
		return p.in
	case contextkey.Facts{}:
		return &p.facts
	case traceKey:
		return p.hooks()
	}
	if v := rest.Value(key); v != nil {
		return v
	}
	if key == (contextkey.Client{}) {
		return p.client()
	}
	return nil
}

// passageOf returns the innermost passage that ctx belongs to, or nil.
func passageOf(ctx context.Context) *passage {
	p, _ := ctx.Value(contextkey.Passage{}).(*passage)
	return p
}

// NoteCache tells of what a cache did, as [exchange.NoteCache] says.
func (p *passage) NoteCache(status string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cache = status
}

// NoteNotStored tells why it has not stored the answer.
func (p *passage) NoteNotStored(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notStored = why
}

// client is who the backend is told about by the PROXY protocol.
func (p *passage) client() backend.Client {
	c := backend.ClientFrom(p.in.RemoteAddr, clientaddr.Local(p.Context))
	c.TLS = p.in.TLS
	return c
}

// one returns a slice with the value v, without an allocation of its own.
func (p *passage) one(v string) []string {
	i := p.used
	if i == len(p.values) {
		return []string{v}
	}
	p.values[i] = v
	p.used++
	return p.values[i : i+1 : i+1]
}

// serve takes the steps of the request in the order in which it meets them.
func (p *passage) serve() error {
	if err := p.h.setup(); err != nil {
		return err
	}
	answered, err := p.prepare()
	if answered || err != nil {
		return err
	}
	resp, err := p.transport().RoundTrip(p.out)
	p.mu.Lock()
	p.final = true
	p.mu.Unlock()
	if err != nil {
		var ours *exchange.Error
		if !errors.As(err, &ours) {
			p.noteForeign()
		}
		return p.classify(err)
	}
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	if resp.Header == nil {
		resp.Header = make(http.Header)
	}
	p.resp = resp
	p.back.ReadCloser, p.to.from = resp.Body, &p.back
	p.record.BackendStatus = resp.StatusCode
	if p.logs(exchange.LevelTrace3) {
		p.logAnswer()
	}
	p.noteForeign()
	if p.outer != nil {
		p.outer.Take(&p.record)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return p.switchProtocols()
	}
	return p.answer()
}

// noteForeign notes the attempt of a transport that has told of none.
func (p *passage) noteForeign() {
	if p.record.Backend != "" {
		return
	}
	p.foreign = true
	p.record.Backend = p.out.URL.Scheme + "://" + p.out.URL.Host
	p.mu.Lock()
	asked := p.cache != "hit"
	p.mu.Unlock()
	if asked {
		p.record.Attempts = len(p.record.Failed) + 1
	}
}

// prepare builds the outgoing request. It reports whether the request was
// answered here instead.
func (p *passage) prepare() (answered bool, err error) {
	h, in := p.h, p.in
	p.facts = h.factsOf(in)
	if err := exchange.CheckHost(in); err != nil {
		return false, err
	}
	if h.StrictQuery && !unambiguousQuery(in.URL.RawQuery) {
		return false, exchange.BadRequest("query can be read in more than one way")
	}
	if in.Method == http.MethodConnect && !h.verbatim {
		return false, refuseConnect(p.w, in)
	}
	if answered, err = p.limitForwards(); answered || err != nil {
		return answered, err
	}
	seen := in // by Rewrite
	if h.Rewrite != nil && !h.verbatim {
		if seen, err = requestWithoutDots(in, h.Mapping); err != nil {
			return false, err
		}
	}
	p.outURL = *seen.URL
	if h.rule != nil {
		ok, err := h.rule.apply(in.URL, &p.outURL)
		if err != nil {
			return false, err
		}
		if !ok {
			return false, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusNotFound, Err: errors.New("path is not under the prefix")}
		}
	}
	p.embedder = exchange.HooksOf(p.in).Trace()
	p.out = p.in.WithContext(p)
	p.out.URL = &p.outURL
	p.out.RequestURI = ""
	p.out.Close = false
	if h.rule != nil && !(h.PreserveHost && in.Host != "") {
		p.out.Host = ""
	}
	p.prepareHeader()
	p.prepareBody()
	if err := p.addVia(); err != nil {
		return false, err
	}
	p.addForwarded(false)
	p.setMaxForwards()
	if err := p.rewrite(seen); err != nil {
		return false, err
	}
	p.addForwarded(true)
	p.dropTwins()
	p.announceClientTrailer()
	if _, err := exchange.OutgoingHost(p.out); err != nil {
		return false, err
	}
	p.ready = true
	if p.logs(exchange.LevelTrace1) {
		h.Logger.Log(p.Context, exchange.LevelTrace1, "proxy: request mapped", "path", in.URL.Path, "to", p.out.URL.Redacted())
	}
	return false, nil
}

func (p *passage) transport() http.RoundTripper {
	if p.h.Transport != nil {
		return p.h.Transport
	}
	return &p.h.own
}

// classify tells a failure of the backend from a client that has left, or that
// does not send its body.
func (p *passage) classify(err error) error {
	if p.put != nil {
		if wrong := p.put.failure.Load(); wrong != nil {
			return wrong // whatever a transport has made of it
		}
	}
	if p.body != nil && p.body.wait.exceeded() {
		return &exchange.Error{Op: exchange.OpClient, Backend: p.record.Backend, Status: http.StatusRequestTimeout, Err: exchange.ErrClientStalled}
	}
	if p.Context.Err() == nil || errors.Is(err, exchange.ErrClientGone) {
		return err
	}
	if errors.Is(p.Context.Err(), context.Canceled) {
		return &exchange.Error{Op: exchange.OpClient, Backend: p.record.Backend, Status: exchange.StatusClientClosedRequest, Err: errors.Join(exchange.ErrClientGone, err)}
	}
	return err
}

// refuseConnect is the answer to a CONNECT, which asks for a tunnel and not for
// something of a backend.
func refuseConnect(w http.ResponseWriter, r *http.Request) error {
	exchange.CloseRefusedConnect(w, r)
	return &exchange.Error{
		Op: exchange.OpRequest, Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"}},
		Err: errors.New("CONNECT is for a forward proxy"),
	}
}

// requestWithoutDots returns the request with the dot segments of its path
// resolved: itself if it has none.
func requestWithoutDots(r *http.Request, m Mapping) (*http.Request, error) {
	u, err := withoutDots(r.URL, m)
	if err != nil || u == r.URL {
		return r, err
	}
	resolved := *r
	resolved.URL = u
	return &resolved, nil
}

// unambiguousQuery reports whether all parsers read the query alike.
func unambiguousQuery(q string) bool {
	for i := 0; i < len(q); i++ {
		switch q[i] {
		case ';':
			return false
		case '%':
			if i+2 >= len(q) {
				return false
			}
			_, ok1 := syntax.HexDigit(q[i+1])
			_, ok2 := syntax.HexDigit(q[i+2])
			if !ok1 || !ok2 {
				return false
			}
			i += 2
		}
	}
	return true
}
