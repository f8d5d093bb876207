package access

import (
	"context"
	"errors"
	"net/http"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// Clients says who may use a forward proxy. Each rule that is set must let the
// client through; without any, and nil, nobody may: an open proxy is never an
// accident. To let everybody in, say so: &Clients{Access: &Access{}}.
type Clients struct {
	// Access goes by the address of the client.
	Access *Access

	// Auth goes by the credentials in Proxy-Authorization. Clients without them
	// are asked with 407.
	Auth *BasicAuth

	// Allow is a rule of your own, for a request with its [User]. Its error refuses the request, with the
	// status of [exchange.StatusOf] if it is a [*exchange.Error], else with 403.
	Allow func(r *http.Request) error
}

// ErrNoClients is returned when there is no rule that says who may use a
// forward proxy.
var ErrNoClients = errors.New("no rule says who may use the proxy")

// Validate returns ErrNoClients if there is no rule.
func (c *Clients) Validate() error {
	if c == nil || c.Access == nil && c.Auth == nil && c.Allow == nil {
		return ErrNoClients
	}
	if c.Auth != nil && c.Auth.Verify == nil {
		return errNoVerify
	}
	return nil
}

// Admit returns the request with what was found out about its client in its
// context: see [Admitted] and [User]. The error is a [*exchange.Error] that says how to
// refuse it.
func (c *Clients) Admit(r *http.Request) (*http.Request, error) {
	if err := c.Validate(); err != nil {
		return nil, exchange.Forbidden("%w", err)
	}
	if c.Access != nil && !c.Access.Allows(r) {
		return nil, exchange.Forbidden("client's address")
	}
	out := r.WithContext(context.WithValue(r.Context(), admissionKey{}, true))
	if c.Auth != nil {
		user, err := c.Auth.CheckProxy(r)
		if err != nil {
			return nil, err
		}
		out = WithUser(out, user, "Basic")
	}
	if c.Allow != nil {
		if err := c.Allow(out); err != nil {
			var e *exchange.Error
			if !errors.As(err, &e) {
				err = exchange.Forbidden("%w", err)
			}
			return nil, err
		}
	}
	return out, nil
}

type admissionKey struct{}

// Admitted reports whether a [Clients] has let the request through.
func Admitted(ctx context.Context) bool {
	admitted, _ := ctx.Value(admissionKey{}).(bool)
	return admitted
}
