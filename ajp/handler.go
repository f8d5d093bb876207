package ajp

import (
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// NewHandler returns the reverse proxy of a path to a container, as Apache's
// "ProxyPass path ajp://host:8009/… mapping=servlet" does: who the client is
// stands in the attributes of AJP, and no forwarding fields are added
// ([proxy.ForwardedNone]). The path is read as the container will, so that
// "/app/..;/manager" is not below "/app".
func NewHandler(prefix, target string) (*proxy.Handler, error) {
	h, err := proxy.NewHandler(prefix, target)
	if err != nil {
		return nil, err
	}
	b, err := backend.Parse(target)
	if err != nil {
		return nil, err
	}
	h.Transport = &Transport{Backend: b}
	h.Forwarded, h.Mapping = proxy.ForwardedNone, proxy.MappingServlet
	return h, nil
}
