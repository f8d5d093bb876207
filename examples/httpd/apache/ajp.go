package apache

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy"
)

func isAJP(text string) bool {
	scheme, _, _ := strings.Cut(text, "://")
	return strings.EqualFold(scheme, "ajp")
}

// newAJP makes what speaks AJP out of what the parameters said.
func (h *host) newAJP(t *proxy.Transport, r memberTarget) *link {
	secret := r.params.secret
	for _, p := range h.proxies {
		if p.covers(r.whole) {
			for _, own := range p.rules {
				secret = cmp.Or(own.params.secret, secret)
			}
		}
	}
	// httpd's iobuffersize is the size of packets.
	at := &ajp.Transport{Backend: t.Backend, Secret: secret, Ping: t.Ping, PacketSize: t.Backend.ReadBufferSize, Attributes: ajpAttributes}
	return &link{at, t.Backend, at.CloseIdleConnections}
}

// ajpAttributes are the variables AJP_… of the request, without that prefix.
func ajpAttributes(r *http.Request) []ajp.Attribute {
	v := visitOf(r)
	if v == nil {
		return nil
	}
	var list []ajp.Attribute
	for name, value := range v.env {
		if rest, ok := strings.CutPrefix(name, "AJP_"); ok && rest != "" {
			list = append(list, ajp.Attribute{Name: rest, Value: value})
		}
	}
	return list
}

// pingCheck makes a check with the method CPING one of AJP.
func pingCheck(m *balancer.MemberConfig) error {
	if m.Check == nil || m.Check.Method != "CPING" {
		return nil
	}
	if _, text := cutUnix(m.URL); !isAJP(text) {
		return errors.New("hcmethod=CPING is for ajp:// alone")
	}
	m.Check.Method = ""
	m.Check.Func = func(ctx context.Context, m *balancer.Member) error { return ajp.CPing(ctx, m.Backend()) }
	return nil
}
