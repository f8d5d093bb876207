package single

import (
	"net/http"
	"net/url"
	"sync"

	"github.com/modproxy/modproxy/fcgi/internal/cgi"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// Defaults of the limits on an answer's head.
const (
	DefaultMaxLineBytes = 16 << 10
	DefaultMaxHeadBytes = 256 << 10
)

// readBufferSize holds what applications write at once.
const readBufferSize = 32 << 10

// Protocol is what differs from one protocol to the next.
type Protocol struct {
	Scheme string

	// Append appends what goes before the body. Its error is one of the request.
	Append func(dst []byte, p *cgi.Params, length int64) ([]byte, error)

	// Parse reads the head of an answer, which may be an interim one.
	Parse func(head string, resp *http.Response) error
}

// Settings are those of a transport.
type Settings struct {
	Backend      *backend.Backend
	NewBackend   func(u *url.URL) *backend.Backend
	Spool        *exchange.Spool
	MaxLineBytes int
	MaxHeadBytes int

	// Variables adds the variables of a request whose body has length bytes.
	Variables func(p *cgi.Params, r, client *http.Request, length int64)
}

// Engine sends requests. The zero value is ready for use.
type Engine struct {
	backends exchange.Backends
	watcher  exchange.Watcher
	rooms    sync.Pool // of *room
}

// room is memory for what is sent.
type room struct {
	params cgi.Params
	head   []byte
}

// Retire closes the connections that the engine has opened and not used.
func (e *Engine) Retire() { e.backends.Retire() }

// Stats returns the figures of the backends, or of the one for all.
func (e *Engine) Stats(all *backend.Backend) []backend.Stats { return e.backends.Stats(all) }

// RoundTrip sends a request and returns the answer when its head is in.
func (e *Engine) RoundTrip(r *http.Request, s *Settings, p *Protocol) (*http.Response, error) {
	client := exchange.ClientRequest(r.Context())
	newBackend := s.NewBackend
	if newBackend == nil {
		newBackend = func(u *url.URL) *backend.Backend {
			return &backend.Backend{URL: u, DisableReuse: true, ReadBufferSize: readBufferSize}
		}
	}
	b, _, err := e.backends.For(r.URL, s.Backend, newBackend, p.Scheme)
	if err == nil {
		err = cgi.CheckRequest(r, client)
	}
	if err == nil && r.URL.Path != "" {
		err = cgi.CheckPath(r.URL.Path)
	}
	if err != nil {
		exchange.CloseBody(r)
		return nil, err
	}
	body, err := cgi.ReadBody(r, s.Spool)
	if err != nil {
		return nil, err
	}
	defer body.Done()
	space, _ := e.rooms.Get().(*room)
	if space == nil {
		space = new(room)
	}
	head, err := space.fill(r, client, &body, s, p)
	if err != nil {
		exchange.CloseBody(body.Request)
		return nil, err
	}
	resp, err := exchange.WithinRequestTimeout(b, body.Request, func(b *backend.Backend, sent *http.Request) (*http.Response, error) {
		return e.send(b, sent, question{s: s, p: p, head: head, streams: body.Streams()})
	})
	e.rooms.Put(space)
	if err != nil {
		return nil, err
	}
	resp.Request = r
	return resp, nil
}

// fill makes what is sent but for a body that is streamed.
func (space *room) fill(r, client *http.Request, body *cgi.Body, s *Settings, p *Protocol) ([]byte, error) {
	const most = 64 << 10 // to keep for the next request
	s.Variables(&space.params, r, client, body.Length)
	head, err := p.Append(space.head[:0], &space.params, body.Length)
	space.params.Reset()
	if err != nil {
		return nil, err
	}
	head = append(head, body.Content...)
	if cap(head) <= most {
		space.head = head
	}
	return head, nil
}

// question is what is asked.
type question struct {
	s       *Settings
	p       *Protocol
	head    []byte
	streams bool // the body comes behind it, by a goroutine
}

// send sends a request to b.
func (e *Engine) send(b *backend.Backend, sent *http.Request, q question) (*http.Response, error) {
	hooks := exchange.HooksOf(sent)
	get := b.Get
	if !q.streams && hooks.Trace() == nil {
		get = b.GetTurn
	}
	c, err := hooks.Acquire(b, get)
	for {
		if err != nil {
			exchange.CloseBody(sent)
			return nil, exchange.AcquireError(sent.Context(), b, err)
		}
		x := &attempt{Attempt: exchange.Attempt{Conn: c, Request: sent, Hooks: hooks}, question: q}
		resp, xerr := x.run(&e.watcher)
		if xerr == nil {
			hooks.Answered()
			return resp, nil
		}
		again := exchange.ResendRequest(sent, xerr)
		if again == nil {
			hooks.Failed(xerr)
			return nil, xerr
		}
		hooks.Resent(xerr)
		sent = again
		c, err = hooks.Acquire(b, b.GetFresh)
	}
}
