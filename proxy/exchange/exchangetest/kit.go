package exchangetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// limit is the time limit of the backend, and patience how long anything may
// take that has none.
const (
	limit    = 10 * time.Second
	patience = 20 * limit
)

// kit is what a check works with. Its methods end the check when something is
// wrong.
type kit struct {
	p    Protocol
	tcp  bool
	b    *backend.Backend
	rt   http.RoundTripper
	quit chan struct{} // closed when the check is over
	on   chan struct{} // closed when it goes on with the next request
	once sync.Once     // closes on

	reached chan struct{} // told by the backend when it is where the check wants it

	mu     sync.Mutex // guards the rest
	does   conduct
	dials  func(ctx context.Context) error // before a connection is made; nil: nothing
	seen   map[string]int                  // requests, by their last segment
	near   []*nearConn
	bodies []*requestBody
	sent   int // requests
	work   sync.WaitGroup
}

// failure is what ends a check.
type failure struct{ error }

// notHere ends a check of something that the protocol has not.
type notHere struct{ error }

func newKit(p Protocol, tcp bool) *kit {
	k := &kit{p: p, tcp: tcp, does: answersWhole, quit: make(chan struct{}), on: make(chan struct{}), reached: make(chan struct{}, 1), seen: make(map[string]int)}
	u, err := url.Parse(p.URL)
	if err != nil {
		panic(err)
	}
	k.b = &backend.Backend{URL: u, Timeout: limit, DialContext: k.dial}
	return k
}

// run runs a check and looks for what it has left.
func (k *kit) run(c check) error {
	before := goroutines()
	err := guarded(func() {
		k.rt = k.p.Transport(k.b)
		c.run(k)
	})
	var left error
	if err == nil {
		left = k.leftOver()
	}
	k.closeIdle()
	_ = k.b.Close()
	if err == nil && left == nil {
		left = k.stillOpen()
	}
	close(k.quit)
	for _, n := range k.near {
		_ = n.far.Close()
	}
	k.work.Wait()
	if err == nil && left == nil && !k.tcp {
		time.Sleep(patience) // whatever has a limit is over
		if left = leaked(before); left != nil {
			time.Sleep(1000 * time.Hour) // else synctest panics, where they end at all
		}
	}
	if err == nil {
		err = left
	}
	return err
}

// guarded runs f and returns how it ended. Any other panic is an error, too.
func guarded(f func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failure:
			err = p.error
		case notHere:
			err = p
		default:
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	f()
	return nil
}

func (k *kit) fail(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// lacks ends a check of what the protocol has not.
func (k *kit) lacks(what string) { panic(notHere{errors.New(what)}) }

// conduct is what the backend does with a request. It reports whether it goes on
// with the connection.
type conduct func(k *kit, c *farConn, r *http.Request) (goesOn bool)

// set sets what the backend does from now on.
func (k *kit) set(does conduct) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.does = does
}

// dial is the backend's DialContext.
func (k *kit) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	k.mu.Lock()
	dials := k.dials
	k.mu.Unlock()
	if dials != nil {
		if err := dials(ctx); err != nil {
			return nil, err
		}
	}
	near, far, err := k.pair()
	if err != nil {
		return nil, err
	}
	n := &nearConn{Conn: near, far: far, main: addr == k.b.Address() || k.p.Second == nil, closed: make(chan struct{})}
	k.mu.Lock()
	k.near = append(k.near, n)
	k.mu.Unlock()
	if n.main {
		k.work.Go(func() { k.serve(&farConn{Conn: far, near: n}) })
	} else {
		k.p.Second(addr, far)
	}
	if tc, ok := near.(*net.TCPConn); ok {
		return &nearTCP{TCPConn: tc, n: n}, nil
	}
	return n, nil
}

// pair returns the two ends of a connection.
func (k *kit) pair() (near, far net.Conn, err error) {
	if !k.tcp {
		near, far = net.Pipe()
		return near, far, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	if far, err = l.Accept(); err != nil {
		_ = near.Close()
	}
	return near, far, err
}

// serve is the backend on one connection.
func (k *kit) serve(c *farConn) {
	defer c.Close()
	c.s = k.p.Server(c)
	if cl, ok := c.s.(io.Closer); ok {
		defer cl.Close()
	}
	for {
		r, err := c.s.ReadRequest()
		if err != nil {
			return
		}
		k.mu.Lock()
		k.seen[path.Base(r.URL.Path)]++
		does := k.does
		k.mu.Unlock()
		if !does(k, c, r) {
			return
		}
	}
}

// silence breaks the way to the backend on all connections that are open.
func (k *kit) silence() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, n := range k.near {
		n.silence()
	}
}

// at tells the check that the backend is where it wants it.
func (k *kit) at() {
	select {
	case k.reached <- struct{}{}:
	default:
	}
}

// await waits until the backend is there.
func (k *kit) await() {
	select {
	case <-k.reached:
		k.pause()
	case <-time.After(patience):
		k.fail("the backend has not got what it waits for")
	}
}

// pause lets what is on its way arrive.
func (k *kit) pause() {
	if k.tcp {
		time.Sleep(50 * time.Millisecond)
	} else {
		time.Sleep(limit / 10)
	}
}

// times returns how often the backend has seen a request.
func (k *kit) times(r *http.Request) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seen[path.Base(r.URL.Path)]
}

// request makes a request that no other is like.
func (k *kit) request(ctx context.Context, method string) *http.Request {
	k.mu.Lock()
	k.sent++
	n := k.sent
	k.mu.Unlock()
	r, err := http.NewRequestWithContext(ctx, method, k.p.URL+"/"+strconv.Itoa(n), nil)
	if err != nil {
		panic(err)
	}
	return r
}

// upload makes a request with that much of a body.
func (k *kit) upload(ctx context.Context, size int64) *http.Request {
	return k.uploadOf(ctx, size, &requestBody{left: size})
}

// uploadOf makes a request with that body, which promises a length.
func (k *kit) uploadOf(ctx context.Context, size int64, b *requestBody) *http.Request {
	method := k.p.Upload
	if method == "" {
		method = http.MethodPost
	}
	r := k.request(ctx, method)
	r.Body, r.ContentLength = b, size
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bodies = append(k.bodies, b)
	return r
}

// exchanged is how RoundTrip has ended.
type exchanged struct {
	resp *http.Response
	err  error
}

// send sends a request, while the check goes on.
func (k *kit) send(r *http.Request) <-chan exchanged {
	done := make(chan exchanged, 1)
	k.work.Go(func() {
		err := guarded(func() {
			resp, err := k.rt.RoundTrip(r)
			done <- exchanged{resp, err}
		})
		if err != nil {
			done <- exchanged{nil, err}
		}
	})
	return done
}

// result waits for the end of RoundTrip.
func (k *kit) result(done <-chan exchanged) (*http.Response, error) {
	select {
	case e := <-done:
		if (e.resp == nil) == (e.err == nil) {
			k.fail("RoundTrip returned the answer %v and the error %v", e.resp, e.err)
		}
		if e.resp != nil && e.resp.Body == nil {
			k.fail("the answer has no Body")
		}
		return e.resp, e.err
	case <-time.After(patience):
		k.fail("RoundTrip has not returned")
	}
	return nil, nil
}

// roundTrip sends a request and waits.
func (k *kit) roundTrip(r *http.Request) (*http.Response, error) { return k.result(k.send(r)) }

// read reads the body of an answer, or the first bytes of it.
func (k *kit) read(resp *http.Response, most int64) (string, error) {
	type got struct {
		text string
		err  error
	}
	done := make(chan got, 1)
	k.work.Go(func() {
		var text strings.Builder
		_, err := io.Copy(&text, io.LimitReader(struct{ io.Reader }{resp.Body}, most))
		done <- got{text.String(), err}
	})
	select {
	case g := <-done:
		return g.text, g.err
	case <-time.After(patience):
		k.fail("reading the body of the answer does not end")
	}
	return "", nil
}

// all is more than any body has.
const all = 1 << 40

// whole sends a request whose answer must be its own.
func (k *kit) whole(r *http.Request) *http.Response {
	resp, err := k.roundTrip(r)
	if err != nil {
		k.fail("%s: %w", r.Method, err)
	}
	k.right(r, resp)
	return resp
}

// right reads an answer and compares it with what the backend has sent to the
// request.
func (k *kit) right(r *http.Request, resp *http.Response) {
	got, err := k.read(resp, all)
	if err != nil {
		k.fail("the body of the answer to a %s: %w", r.Method, err)
	}
	if err := resp.Body.Close(); err != nil {
		k.fail("closing the body of the answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		k.fail("%s is answered with %d", r.Method, resp.StatusCode)
	}
	if carriesBody(r, resp) && got != content(path.Base(r.URL.Path), len(got)) {
		k.fail("the answer to request %s is that of another: %.60q", r.URL.Path, got)
	}
	if carriesBody(r, resp) && r.Method == http.MethodGet && len(got) != BodySize {
		k.fail("the body of the answer has %d bytes of %d", len(got), BodySize)
	}
	if n := k.times(r); n != 1 {
		k.fail("the backend has seen the request %d times", n)
	}
}

// carriesBody reports whether the content of an answer is the backend's: not
// every protocol has one for an upload.
func carriesBody(r *http.Request, resp *http.Response) bool {
	return r.Method == http.MethodGet && resp.StatusCode == http.StatusOK
}

// eventually waits until something is so.
func (k *kit) eventually(is func() bool) bool {
	for range 2000 {
		if is() {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return is()
}
