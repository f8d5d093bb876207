package balancer

import (
	"context"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// Facts are what a balancer decided for one request, as Apache tells it in
// environment variables.
type Facts struct {
	Balancer     string          // the balancer's name
	Worker       *Member         // the member chosen
	Sticky       string          // the name under which the session was found
	SessionRoute string          // the route that the client named: not to be trusted
	Changed      bool            // the member has a route, and the session does not name it
	Why          string          // the session's, a redirect, or the method's name
	Skipped      []exchange.Skip // members that could not be chosen
	Attempts     []FailedAttempt // those that failed before
}

// Env returns a fact by Apache's name of the variable, or "": BALANCER_NAME,
// BALANCER_SESSION_STICKY, BALANCER_SESSION_ROUTE, BALANCER_WORKER_NAME,
// BALANCER_WORKER_ROUTE and BALANCER_ROUTE_CHANGED.
func (f *Facts) Env(name string) string {
	if f == nil {
		return ""
	}
	switch name {
	case "BALANCER_NAME":
		return "balancer://" + f.Balancer
	case "BALANCER_SESSION_STICKY":
		return f.Sticky
	case "BALANCER_SESSION_ROUTE":
		return f.SessionRoute
	case "BALANCER_ROUTE_CHANGED":
		if f.Changed {
			return "1"
		}
	case "BALANCER_WORKER_NAME":
		if f.Worker != nil {
			return f.Worker.String()
		}
	case "BALANCER_WORKER_ROUTE":
		if f.Worker != nil {
			return f.Worker.Route()
		}
	}
	return ""
}

type factsKey struct{}

// FactsFrom returns the facts of the request that ctx belongs to, or nil. The
// context is that of the request as a member's RoundTripper gets it, or of
// resp.Request of an answer, as in a Handler's ModifyResponse; or one made by
// [WithFacts]. The facts must not be changed.
func FactsFrom(ctx context.Context) *Facts {
	switch f := ctx.Value(factsKey{}).(type) {
	case *Facts:
		return f
	case factsHolder:
		return f.Facts
	}
	return nil
}

type factsHolderKey struct{}

// factsHolder is told the facts of a request.
type factsHolder struct{ *Facts }

// OneRequest keeps copies of the request from telling theirs.
func (factsHolder) OneRequest() {}

// WithFacts returns a context for a request whose facts are wanted outside of
// the balancer, for example by an access log: they are copied to f each time a
// member is chosen.
func WithFacts(ctx context.Context, f *Facts) context.Context {
	h := factsHolder{f}
	return context.WithValue(context.WithValue(ctx, factsHolderKey{}, h), factsKey{}, h)
}
