package ajp

import (
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// NewHandler returns the reverse proxy of a container for the paths under
// prefix, as Apache's "ProxyPass prefix target mapping=servlet" does with a
// target such as "ajp://host:8009/": the fields of forwarding are left to the attributes of
// AJP, and the path is read as the container will, so that "/app/..;/manager" is
// not below "/app".
func NewHandler(target, prefix string) (*proxy.Handler, error) {
	h, err := proxy.NewHandler(target, prefix)
	if err != nil {
		return nil, err
	}
	b, err := backend.Parse(target)
	if err != nil {
		return nil, err
	}
	h.Transport = &Transport{Backend: b}
	h.Forwarded, h.Mapping = proxy.ForwardedOff, proxy.MappingServlet
	return h, nil
}
