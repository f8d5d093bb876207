package backend

import (
	"context"
	"errors"
	"time"
)

// errNoReturn is what a function that ends its goroutine is taken to return.
var errNoReturn = errors.New("function did not return")

// grace is how long a function that looks at its context may take to return.
const grace = 100 * time.Millisecond

// Within calls a function of somebody else, which may not look at its context,
// such as a dialer, a resolver or a check: it calls f and returns what it does, but not later than a moment after ctx
// ends. What f returns too late, without an error, goes to late. A panic of f goes
// on in the caller.
func Within[T any](ctx context.Context, f func(context.Context) (T, error), late func(T)) (T, error) {
	type outcome struct {
		value    T
		err      error
		panicked any
	}
	outcomes, left := make(chan outcome), make(chan struct{})
	go func() {
		o := outcome{err: errNoReturn}
		defer func() {
			o.panicked = recover()
			select {
			case outcomes <- o:
			case <-left:
				if o.err == nil {
					late(o.value)
				}
			}
		}()
		o.value, o.err = f(ctx)
	}()
	var o outcome
	select {
	case o = <-outcomes:
	case <-ctx.Done():
		late := time.NewTimer(grace)
		defer late.Stop()
		select {
		case o = <-outcomes:
		case <-late.C:
			close(left)
			return o.value, context.Cause(ctx)
		}
	}
	if o.panicked != nil {
		panic(o.panicked)
	}
	return o.value, o.err
}
