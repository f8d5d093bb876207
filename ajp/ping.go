package ajp

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// errNoPong is the cause when a container does not answer a CPING.
var errNoPong = errors.New("no CPONG came")

// cping is the packet that asks whether the container is alive.
var cping = []byte{0x12, 0x34, 0, 1, typeCPing}

// cpong is the answer to it.
var cpong = []byte{0x41, 0x42, 0, 1, typeCPong}

// ping sends a CPING over an idle connection and waits for the CPONG.
func ping(c *backend.Conn, wait time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(wait))
	defer c.Disarmed()
	if _, err := c.Turn(cping); err != nil {
		return errors.Join(errNoPong, err)
	}
	got, err := c.R.Peek(len(cpong))
	if err != nil {
		return errors.Join(errNoPong, err)
	}
	if string(got) != string(cpong) {
		return errors.Join(errNoPong, malformed("answer to a CPING is no CPONG"))
	}
	_, _ = c.R.Discard(len(cpong))
	if c.R.Buffered() > 0 { // it would pass for the answer to the request that follows
		return errors.Join(errNoPong, malformed("bytes behind a CPONG"))
	}
	return nil
}

// CPing asks a container whether it is alive, within the context's deadline or
// else the backend's Timeout, over a connection of its own beyond those of the
// pool (see [backend.WithCheck]). It is the health check of Apache's
// hcmethod=CPING:
//
//	balancer.Check{Func: func(ctx context.Context, m *balancer.Member) error {
//		return ajp.CPing(ctx, m.Backend())
//	}}
func CPing(ctx context.Context, b *backend.Backend) error {
	c, err := b.Get(backend.WithCheck(ctx))
	if err != nil {
		return exchange.AcquireError(ctx, b, err)
	}
	wait := c.Limits().Header
	if wait < 0 {
		wait = time.Hour
	}
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end))
	}
	stop := context.AfterFunc(ctx, c.Abort)
	err = ping(c, wait)
	stop()
	name := c.Backend().String()
	c.Release(false)
	if err != nil {
		return &exchange.Error{Op: exchange.OpHeader, Backend: name, Status: http.StatusServiceUnavailable, Resend: true, Err: err}
	}
	return nil
}
