package ftpproxy

import (
	"net/http"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// DefaultAnonymousPassword is sent with the name "anonymous" unless the
// transport has another. Servers want something that looks like an address.
const DefaultAnonymousPassword = "modproxy@example.com"

// source is where credentials come from.
type source int

const (
	fromNowhere       source = iota // anonymous
	fromURL                         // of the request
	fromConfiguration               // Transport.User
	fromClient                      // Authorization
)

// credentials are who logs in.
type credentials struct {
	name, password string
	from           source
}

// maxCredential limits a name or a password in bytes.
const maxCredential = 1024

// credentials says who logs in for r: the URL names the user, or else the
// transport, or else the client's Authorization.
func (t *Transport) credentials(r *http.Request) (credentials, *exchange.Error) {
	c := credentials{name: "anonymous", password: t.AnonymousPassword}
	if c.password == "" {
		c.password = DefaultAnonymousPassword
	}
	if u := r.URL.User; u != nil && u.Username() != "" {
		c.name, c.from = u.Username(), fromURL
		c.password, _ = u.Password()
	} else if u := t.User; u != nil && u.Username() != "" {
		c.name, c.from = u.Username(), fromConfiguration
		c.password, _ = u.Password()
	} else if name, password, ok := r.BasicAuth(); ok && name != "" && !t.IgnoreAuthorization {
		c = credentials{name, password, fromClient}
	}
	if hasControl(c.name) || hasControl(c.password) || len(c.name) > maxCredential || len(c.password) > maxCredential {
		return c, badRequest("credentials have a control byte, or more than %d bytes", maxCredential)
	}
	return c, nil
}

// owner is what connections are told apart by. It stays in memory.
func (c credentials) owner() string { return c.name + "\x00" + c.password }

// private reports whether the answer must stay out of shared caches: the
// credentials are no part of the URL that these go by.
func (c credentials) private() bool { return c.from == fromURL || c.from == fromClient }
