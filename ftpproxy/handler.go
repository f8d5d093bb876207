package ftpproxy

import (
	"fmt"
	"strings"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// NewHandler returns the reverse proxy of a path to an FTP server, as Apache's
// "ProxyPass path ftp://host/…" does. A user that the target names logs in for
// all clients. The settings of its Transport, a [*Transport], may be changed
// before the first request.
func NewHandler(prefix, target string) (*proxy.Handler, error) {
	u, err := backend.ParseURL(target)
	if err != nil {
		return nil, fmt.Errorf("ftpproxy: target: %w", err)
	}
	switch strings.ToLower(u.Scheme) {
	case "ftp", "ftps", "ftpes":
	default:
		return nil, fmt.Errorf("ftpproxy: target %q: want a URL of the scheme ftp, ftps or ftpes", backend.RedactURL(u.String()))
	}
	user := u.User
	u.User = nil
	h, err := proxy.NewHandler(prefix, u.String())
	if err != nil {
		return nil, err
	}
	b, err := backend.Parse(u.String())
	if err != nil {
		return nil, err
	}
	b.IdleTTL, b.MaxIdle = DefaultIdleTTL, DefaultMaxIdle
	h.Transport = &Transport{Backend: b, User: user}
	h.Forwarded = proxy.ForwardedNone
	return h, nil
}
