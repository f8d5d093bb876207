package fcgi

import (
	"context"

	"github.com/modproxy/modproxy/fcgi/internal/cgi"
)

// Params are the variables of one request, in order.
type Params cgi.Params

// Get returns the value of a variable, or "".
func (p *Params) Get(name string) string { return (*cgi.Params)(p).Get(name) }

// Lookup returns the value of a variable, and whether there is one.
func (p *Params) Lookup(name string) (string, bool) { return (*cgi.Params)(p).Lookup(name) }

// Set gives a variable a value.
func (p *Params) Set(name, value string) { (*cgi.Params)(p).Set(name, value) }

// Delete removes a variable.
func (p *Params) Delete(name string) { (*cgi.Params)(p).Delete(name) }

// All calls yield for each variable, in order, until it returns false.
func (p *Params) All(yield func(name, value string) bool) { (*cgi.Params)(p).All(yield) }

// WithVariables adds variables to those that a [Transport] sends for requests
// with this context, in place of its own of the same name; so do the transports
// of the packages scgi and uwsgi. They are how middleware tells an application
// what it has found out, such as REMOTE_USER.
func WithVariables(ctx context.Context, vars map[string]string) context.Context {
	return cgi.WithVariables(ctx, vars)
}

// Variables returns what was given to [WithVariables]. It must not be changed.
func Variables(ctx context.Context) map[string]string { return cgi.Variables(ctx) }

// appendParams appends all variables as name-value pairs.
func appendParams(dst []byte, p *cgi.Params) []byte {
	list := p.List()
	for i := range list {
		v := &list[i]
		dst = appendLength(appendLength(dst, v.NameLen()), len(v.Value))
		dst = append(v.AppendName(dst), v.Value...)
	}
	return dst
}
