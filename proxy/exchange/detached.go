package exchange

import (
	"context"

	"github.com/modproxy/modproxy/proxy/internal/contextkey"
)

// Detached returns a context for work that goes on behind the request that ctx
// belongs to, or for several requests at once, such as a fetch of a cache: it
// does not end with ctx, and what is done under it is told to no record. Hooks
// of an httptrace.ClientTrace are kept; those of a [proxy.Handler] do nothing once it
// has its answer.
func Detached(ctx context.Context) context.Context {
	free := context.WithoutCancel(ctx)
	if ctx.Value(contextkey.Passage{}) == nil && ctx.Value(contextkey.Observation{}) == nil {
		return free
	}
	return detached{free}
}

type detached struct{ context.Context }

func (d detached) Value(key any) any {
	switch key {
	case contextkey.Observation{}, contextkey.Record{}, contextkey.Passage{}:
		return nil
	}
	return d.Context.Value(key)
}
