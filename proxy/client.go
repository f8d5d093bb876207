package proxy

import (
	"context"
	"net/http"
)

// ClientRequest returns the request of the client that a [Handler] is serving,
// given the context of the request that it sends; nil if ctx is no such
// context. It must not be changed, nor its body read.
func ClientRequest(ctx context.Context) *http.Request {
	r, _ := ctx.Value(clientRequestKey{}).(*http.Request)
	return r
}
