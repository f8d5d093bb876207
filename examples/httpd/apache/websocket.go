package apache

import (
	"net/http"
	"strings"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/wstunnel"
)

// webSocketDirectives are those of mod_proxy_wstunnel. All but the first are
// httpd's from 2.5 on.
func webSocketDirectives() []directive {
	const dir = anywhere
	return []directive{
		{name: "ProxyWebsocketFallbackToProxyHttp", in: dir, min: 1, max: 1, note: "Off answers 426 to requests without an upgrade for ws:// and wss://",
			apply: applySwitch(func(s *settings) **bool { return &s.plainFallback })},
		{name: "ProxyWebsocketIdleTimeout", in: dir, min: 1, max: 1, note: "0 leaves it to ProxyTimeout", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			idle, err := duration(d.Args[0], time.Second)
			s.settings.tunnelIdle = &idle
			return err
		}},
		{name: "ProxyWebsocketAsync", in: dir, min: 1, max: 1, note: "an idle tunnel holds neither a thread nor a buffer in any case"},
		{name: "ProxyWebsocketAsyncDelay", in: dir, min: 1, max: 1, note: "an idle tunnel holds neither a thread nor a buffer in any case"},
	}
}

// upgrading puts what knows WebSockets before the proxy of a rule that may
// upgrade: handshakes are checked, and clients are told when they have to go.
func (h *host) upgrading(ph *proxy.Handler, r *rule, s *served) http.Handler {
	if len(ph.Upgrades) == 0 {
		return ph
	}
	return &wstunnel.Handler{
		Proxy: ph, Protocols: ph.Upgrades, IdleTimeout: said(s.tunnelIdle, 0),
		NoFallback: !said(s.plainFallback, true) && speaksWebSocket(h.routeOf(r), r.text),
	}
}

// speaksWebSocket reports whether a rule leads to ws:// or wss://, if only by
// the members of its balancer.
func speaksWebSocket(to http.RoundTripper, text string) bool {
	if p, ok := to.(*pool); ok {
		for _, m := range p.declared.members {
			if _, member := cutUnix(m.config.URL); !isWebSocket(member) {
				return false
			}
		}
		return len(p.declared.members) > 0
	}
	return isWebSocket(text)
}

func isWebSocket(text string) bool {
	text = strings.ToLower(text)
	return strings.HasPrefix(text, "ws://") || strings.HasPrefix(text, "wss://")
}
