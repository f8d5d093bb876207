package exchangetest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// poolChecks are what may go wrong with connections that are used again.
func poolChecks() []check {
	var list []check
	for _, tcp := range []bool{false, true} {
		over := ""
		if tcp {
			over = " over TCP"
		}
		list = append(list,
			check{"stale connection, GET" + over, staleGet, tcp, true},
			check{"stale connection, upload" + over, staleUpload, tcp, true},
			check{"closed when the next request is read, GET" + over, closedGet, tcp, true},
			check{"closed when the next request is read, upload" + over, closedUpload, tcp, true},
			check{"closed whenever a request is read" + over, closedAlways, tcp, true},
		)
	}
	return append(list,
		check{name: "answers closed early", run: closedEarly},
		check{name: "answers closed unread", run: closedUnread},
		check{name: "answers closed that go on slowly", run: closedSlowly},
		check{name: "many at once", run: manyAtOnce},
	)
}

// used leaves a connection in the pool, with which the backend does something
// when the next request has come over it; with nil, it closes it now. Further
// connections are good ones.
func (k *kit) used(then conduct) {
	var mu sync.Mutex
	served := make(map[*farConn]bool)
	idle := make(chan struct{})
	k.set(func(k *kit, c *farConn, r *http.Request) bool {
		mu.Lock()
		first, again := len(served) == 0, served[c]
		served[c] = true
		mu.Unlock()
		switch {
		case again && then != nil:
			return then(k, c, r)
		case !answersWhole(k, c, r):
			return false
		case first && then == nil:
			select { // else what is on its way to the transport may be lost
			case <-idle:
			case <-k.quit:
			}
			return false
		}
		return true
	})
	k.whole(k.request(context.Background(), http.MethodGet))
	close(idle)
	k.pause() // the backend closes it, or waits
}

func staleGet(k *kit) {
	k.used(nil)
	k.whole(k.request(context.Background(), http.MethodGet))
}

// staleUpload: nobody has seen the request, but it may not be known.
func staleUpload(k *kit) {
	k.used(nil)
	k.onceOrFailed(k.upload(context.Background(), 100_000), 1)
	k.goesOn()
}

// onceOrFailed sends a request that is served once, or else fails in such a way
// that it is known that it may have been served.
func (k *kit) onceOrFailed(r *http.Request, most int) {
	resp, err := k.roundTrip(r)
	if err == nil {
		k.right(r, resp)
		return
	}
	if n := k.times(r); n > most {
		k.fail("the backend has seen the %s %d times", r.Method, n)
	}
	k.stale(r, err)
}

// stale wants the error of a connection that was closed while it was idle.
func (k *kit) stale(r *http.Request, err error) {
	var e *exchange.Error
	switch {
	case !errors.As(err, &e):
		k.fail("the error is no *exchange.Error: %T: %w", err, err)
	case !errors.Is(err, exchange.ErrStaleConn):
		k.fail("the error does not wrap ErrStaleConn: %w", err)
	case exchange.StatusOf(err) != http.StatusBadGateway:
		k.fail("the status is %d, not 502: %w", exchange.StatusOf(err), err)
	case exchange.MayResend(err) && !exchange.IsIdempotent(r) && k.times(r) > 0:
		k.fail("the error says that the %s, which the backend has seen, may be sent again: %w", r.Method, err)
	}
}

// closedGet: a reused connection is closed when the request has been read. One
// that is idempotent is sent once more.
func closedGet(k *kit) {
	k.used(closesAt(beforeHead))
	r := k.request(context.Background(), http.MethodGet)
	resp, err := k.roundTrip(r)
	if err != nil {
		k.fail("a GET that was not answered over a reused connection is not sent again: %w", err)
	}
	if n := k.times(r); n != 2 {
		k.fail("the backend has seen the request %d times", n)
	}
	k.forget(r)
	k.right(r, resp)
}

// forget lets the next time that the backend saw a request be the only one.
func (k *kit) forget(r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, n := range k.seen {
		if n > 1 {
			k.seen[name] = 1
		}
	}
}

// closedUpload: one that is not idempotent, or whose body is gone, is not.
func closedUpload(k *kit) {
	k.used(closesAt(beforeHead))
	r := k.upload(context.Background(), 100_000)
	_, err := k.roundTrip(r)
	if err == nil {
		k.fail("there is an answer to an upload that may have been served before")
	}
	if n := k.times(r); n != 1 {
		k.fail("the backend has seen the %s %d times", r.Method, n)
	}
	k.check(r, err, expected{ops: []exchange.Op{exchange.OpHeader}, status: http.StatusBadGateway, resend: exchange.IsIdempotent(r)})
	k.goesOn()
}

// closedAlways: the second try is the last.
func closedAlways(k *kit) {
	k.whole(k.request(context.Background(), http.MethodGet))
	k.pause()
	k.set(closesAt(beforeHead))
	r := k.request(context.Background(), http.MethodGet)
	resp, err := k.roundTrip(r)
	if err == nil {
		_ = resp.Body.Close()
		k.fail("there is an answer")
	}
	if n := k.times(r); n > 2 {
		k.fail("the backend has seen the request %d times", n)
	}
	k.check(r, err, expected{ops: []exchange.Op{exchange.OpHeader, exchange.OpWrite}, status: http.StatusBadGateway, resend: true})
	k.goesOn()
}

// closedEarly: what is left of an answer is not taken for the next one.
func closedEarly(k *kit) {
	for _, length := range []bool{true, false} {
		for _, most := range []int64{0, 1, BodySize / 2, BodySize - 1} {
			k.set(answersWith(length))
			r := k.request(context.Background(), http.MethodGet)
			resp, err := k.roundTrip(r)
			if err != nil {
				k.fail("%w", err)
			}
			got, err := k.read(resp, most)
			if err != nil || int64(len(got)) != most {
				k.fail("%d bytes of the body: %d, %w", most, len(got), err)
			}
			if err := resp.Body.Close(); err != nil {
				k.fail("closing the body: %w", err)
			}
			_ = resp.Body.Close()
			k.whole(k.request(context.Background(), http.MethodGet))
		}
	}
}

// closedUnread: what is left of an answer is short and comes in a moment, so that
// the connection serves the next request.
func closedUnread(k *kit) {
	for _, status := range []int{http.StatusOK, http.StatusNoContent, http.StatusNotModified, http.StatusServiceUnavailable} {
		k.set(func(_ *kit, c *farConn, r *http.Request) bool {
			if beforeHead(c, r) != nil || c.s.WriteHead(status, http.Header{"X-Name": {"unread"}}) != nil {
				return false
			}
			time.Sleep(5 * time.Millisecond)
			if carries := status == http.StatusOK || status >= 500; carries && c.s.WriteBody([]byte("not much")) != nil {
				return false
			}
			return c.s.WriteEnd() == nil
		})
		resp, err := k.roundTrip(k.request(context.Background(), http.MethodGet))
		if err != nil {
			k.fail("%d: %w", status, err)
		}
		begun := time.Now()
		_ = resp.Body.Close()
		if took := time.Since(begun); took > limit/20 {
			k.fail("%d: closing the body took %v", status, took)
		}
		k.goesOn()
		if n := k.dialled(); n != 1 && !k.p.Single {
			k.fail("%d: the connection was not used again", status)
		}
	}
}

// closedSlowly: nobody waits long for what is left of an answer, or reads much of
// it.
func closedSlowly(k *kit) {
	k.set(stallsAt(inUnknownBody))
	resp, err := k.roundTrip(k.request(context.Background(), http.MethodGet))
	if err != nil {
		k.fail("%w", err)
	}
	begun := time.Now()
	_ = resp.Body.Close()
	if took := time.Since(begun); took > limit/20 {
		k.fail("closing the body took %v", took)
	}
	k.goesOn()
}

// manyAtOnce: requests that are read, closed early and left do not get in each
// other's way.
func manyAtOnce(k *kit) {
	const clients, rounds = 8, 20
	errs := make(chan error, clients)
	for i := range clients {
		k.work.Go(func() { errs <- guarded(func() { k.client(i, rounds) }) })
	}
	var all []error
	for range clients {
		select {
		case err := <-errs:
			all = append(all, err)
		case <-time.After(clients * patience):
			k.fail("%d of %d clients wait for ever", clients-len(all), clients)
		}
	}
	if err := errors.Join(all...); err != nil {
		panic(failure{err})
	}
}

// client is one of many.
func (k *kit) client(i, rounds int) {
	for n := range rounds {
		ctx, cancel := context.WithCancel(context.Background())
		r := k.request(ctx, http.MethodGet)
		if (i+n)%3 == 1 {
			r = k.upload(ctx, 30_000)
		}
		kind := (i + n) % 4
		if kind == 3 {
			late := time.AfterFunc(time.Duration(i)*time.Millisecond, cancel)
			defer late.Stop()
		}
		resp, err := k.roundTrip(r)
		switch {
		case err != nil && kind != 3:
			panic(failure{fmt.Errorf("%s: %w", r.Method, err)})
		case err != nil:
			if status := exchange.StatusOf(err); status != exchange.StatusClientClosedRequest {
				k.fail("the status of a client that has left is %d: %w", status, err)
			}
		case kind == 0 || kind == 2:
			k.right(r, resp)
		case kind == 1:
			if got, err := k.read(resp, 100); err == nil && carriesBody(r, resp) && got != content(r.URL.Path[len(k.b.URL.Path)+1:], 100) {
				k.fail("request %s has got the answer of another: %q", r.URL.Path, got)
			}
			fallthrough
		default:
			_ = resp.Body.Close()
		}
		cancel()
	}
}
