package proxy

import (
	"net/http"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/observation"
)

// Observer is middleware that tells what happened to each request, whoever
// answered it: a [Handler] further in, a cache on the way to it, or access
// control that refused it. It is what metrics, traces and logs of one's own are
// made from; where the requests of one Handler are enough, its OnRecord costs
// less. See [exchange.Record] for what is known.
//
// Each request costs one allocation. The Record's times count from the
// outermost Observer or [accesslog.Handler].
type Observer struct {
	// Done is called when a request is done or its connection was taken over,
	// on the goroutine that has handled it, even if that panics. r is the
	// request as it was passed on: with its Pattern, if next is a ServeMux. The
	// Record must not be kept. If nil, Wrap returns next as it is.
	Done func(r *http.Request, rec *exchange.Record)
}

// Wrap puts the Observer around next.
func (o *Observer) Wrap(next http.Handler) http.Handler {
	if o.Done == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ob := observation.Begin(w, r)
		defer func() {
			ob.End()
			o.Done(&ob.Request, &ob.Record)
		}()
		next.ServeHTTP(&ob.Writer, &ob.Request)
		ob.Whole = true
	})
}
