package exchange

import (
	"context"
	"net/http"

	"github.com/modproxy/modproxy/proxy/internal/contextkey"
)

// ClientRequest returns the request of the client that a [proxy.Handler] is serving,
// given the context of the request that it sends; nil if ctx is no such
// context. It must not be changed, nor its body read.
func ClientRequest(ctx context.Context) *http.Request {
	r, _ := ctx.Value(contextkey.ClientRequest{}).(*http.Request)
	return r
}
