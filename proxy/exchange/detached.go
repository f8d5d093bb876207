package exchange

import (
	"context"
	"reflect"

	"github.com/modproxy/modproxy/proxy/internal/contextkey"
)

// Detached returns a context for work that goes on behind the request that ctx
// belongs to, or for several requests at once, such as a fetch of a cache: it
// does not end with ctx, and what is done under it is told to no record. Hooks
// of an httptrace.ClientTrace are kept; those of a [proxy.Handler] do nothing once it
// has its answer.
func Detached(ctx context.Context) context.Context { return Beside(context.WithoutCancel(ctx)) }

// Beside returns a context for another request for the sake of the one that ctx
// belongs to, such as the question to an authorizer: it ends with ctx, but what is
// done under it is told to no record, and is no attempt.
func Beside(ctx context.Context) context.Context {
	if ctx.Value(contextkey.Passage{}) == nil && ctx.Value(contextkey.Observation{}) == nil {
		return ctx
	}
	return detached{ctx}
}

type detached struct{ context.Context }

func (d detached) Value(key any) any {
	switch key {
	case contextkey.Observation{}, contextkey.Record{}, contextkey.Passage{}:
		return nil
	}
	return d.Context.Value(key)
}

// Apart returns a context for a copy of the request that ctx belongs to, such as
// a mirror sends: it does not end with ctx, and nothing that is done under it is
// told to those who follow the request: neither to its [Record], nor to hooks of an
// httptrace.ClientTrace, nor to what was put into ctx to collect facts. Such a
// value has a method OneRequest(), by which it is known.
func Apart(ctx context.Context) context.Context { return apart{Detached(ctx)} }

type apart struct{ context.Context }

func (a apart) Value(key any) any {
	if key == (contextkey.Hooks{}) || isTraceKey(key) {
		return nil
	}
	v := a.Context.Value(key)
	if _, collects := v.(interface{ OneRequest() }); collects {
		return nil
	}
	return v
}

// isTraceKey finds the keys under which net/http/httptrace keeps its hooks in a
// context, for itself and for package net.
func isTraceKey(key any) bool {
	if t := reflect.TypeOf(key); t != nil {
		return t.PkgPath() == "net/http/httptrace" || t.PkgPath() == "internal/nettrace"
	}
	return false
}
