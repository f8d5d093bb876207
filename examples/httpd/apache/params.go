package apache

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// params are the k=v of ProxyPass and ProxySet, in order.
type params struct {
	steps       []func(t *proxy.Transport, h *proxy.Handler)
	nocanon     bool
	secret      string // of AJP
	mapping     proxy.Mapping
	mapped      bool     // mapping= was given
	beside      []string // parameters that are read elsewhere, for messages
	interpolate bool
}

// merge adds what a later ProxySet says.
func (p *params) merge(later params) {
	p.steps = append(p.steps, later.steps...)
	if later.secret != "" {
		p.secret = later.secret
	}
}

// apply sets the parameters on what serves a rule.
func (p *params) apply(t *proxy.Transport, h *proxy.Handler) {
	for _, set := range p.steps {
		set(t, h)
	}
}

// setWorker is set for ProxySet and <Proxy>, which speak of a backend: how a path
// is read is a rule's to say.
func (p *params) setWorker(word string) error {
	key, _, _ := strings.Cut(strings.ToLower(word), "=")
	switch key {
	case "mapping", "nocanon", "noquery", "interpolate":
		return fmt.Errorf("%s belongs to ProxyPass", key)
	}
	return p.set(word)
}

// set reads one parameter or flag.
func (p *params) set(word string) error {
	key, value, ok := strings.Cut(word, "=")
	key = strings.ToLower(key)
	if !ok {
		switch key {
		case "nocanon":
			p.nocanon = true
			return nil
		case "noquery":
			return nil // concerns FastCGI alone
		case "interpolate":
			p.interpolate = true
			return nil
		}
		return fmt.Errorf("parameter %q has no value", backend.RedactURL(word))
	}
	if value == "" {
		return fmt.Errorf("parameter %q has no value", key)
	}
	on := func(f func(b *backend.Backend)) error {
		p.steps = append(p.steps, func(t *proxy.Transport, _ *proxy.Handler) { f(t.Backend) })
		return nil
	}
	number := func(least int, f func(b *backend.Backend, n int)) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < least {
			return fmt.Errorf("%s=%s: want a number of at least %d", key, value, least)
		}
		return on(func(b *backend.Backend) { f(b, n) })
	}
	span := func(unit time.Duration, least time.Duration, f func(b *backend.Backend, d time.Duration)) error {
		d, err := duration(value, unit)
		if err != nil || d < least {
			return fmt.Errorf("%s=%s: want a duration of at least %v", key, value, least)
		}
		return on(func(b *backend.Backend) { f(b, d) })
	}
	flag := func(f func(b *backend.Backend, on bool)) error {
		switch strings.ToLower(value) {
		case "on":
			return on(func(b *backend.Backend) { f(b, true) })
		case "off":
			return on(func(b *backend.Backend) { f(b, false) })
		}
		return fmt.Errorf("%s is On or Off", key)
	}
	switch key {
	case "min":
		return number(0, func(b *backend.Backend, n int) { b.MinIdle = n })
	case "max":
		return number(0, func(b *backend.Backend, n int) { b.MaxConns = n })
	case "smax":
		return number(0, func(b *backend.Backend, n int) {
			if b.MaxIdle = n; n == 0 {
				b.MaxIdle = -1
			}
		})
	case "acquire":
		return span(time.Millisecond, time.Millisecond, func(b *backend.Backend, d time.Duration) { b.AcquireTimeout = d })
	case "connectiontimeout":
		return span(time.Second, time.Millisecond, func(b *backend.Backend, d time.Duration) { b.ConnectTimeout = d })
	case "timeout":
		return span(time.Second, time.Second, func(b *backend.Backend, d time.Duration) { b.Timeout = d })
	case "ttl":
		return span(time.Second, time.Second, func(b *backend.Backend, d time.Duration) { b.IdleTTL = d })
	case "retry":
		return span(time.Second, 0, func(b *backend.Backend, d time.Duration) {}) // a lone backend is always tried, as in httpd
	case "disablereuse":
		return flag(func(b *backend.Backend, on bool) { b.DisableReuse = on })
	case "enablereuse":
		return flag(func(b *backend.Backend, on bool) { b.DisableReuse = !on })
	case "addressttl":
		n, err := strconv.Atoi(value)
		if err != nil || n < -1 {
			return fmt.Errorf("addressttl=%s: want seconds, or -1", value)
		}
		return on(func(b *backend.Backend) {
			switch {
			case n < 0:
				b.AddressTTL = -1
			case n == 0:
				b.DisableReuse = true
			default:
				b.AddressTTL = time.Duration(n) * time.Second
			}
		})
	case "keepalive":
		return flag(func(b *backend.Backend, on bool) {
			if !on {
				b.KeepAlive = -1
			}
		})
	case "iobuffersize":
		return number(0, func(b *backend.Backend, n int) { b.ReadBufferSize = n })
	case "receivebuffersize":
		return number(0, func(b *backend.Backend, n int) { b.ReceiveBufferSize = n })
	case "flushpackets", "flushwait", "flusher":
		return nil // pauses of the backend decide
	case "loadfactor", "lbset", "route", "redirect", "status", "hcmethod", "hcpasses", "hcfails", "hcinterval", "hcuri", "hctemplate", "hcexpr":
		return fmt.Errorf("parameter %s belongs to members of balancers, or to other protocols", key)
	case "secret":
		p.secret = value // without meaning for other protocols, as in httpd
		return nil
	case "ping":
		d, err := duration(value, time.Second)
		if err != nil || d < time.Millisecond {
			return fmt.Errorf("ping=%s: want a duration", value)
		}
		p.steps = append(p.steps, func(t *proxy.Transport, _ *proxy.Handler) { t.Ping = d })
		return nil
	case "responsefieldsize":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return fmt.Errorf("responsefieldsize=%s: want a number", value)
		}
		if n == 0 {
			n = 8192
		}
		p.steps = append(p.steps, func(t *proxy.Transport, _ *proxy.Handler) { t.MaxLineBytes = n })
		return nil
	case "upgrade":
		for _, word := range upgrades(value) {
			if switches := []string{"on", "off", "yes", "no", "true", "false"}; slices.Contains(switches, strings.ToLower(word)) || word != "*" && !isProtocol(word) {
				return fmt.Errorf("upgrade=%s: %q is no protocol, as websocket is; ANY stands for all, NONE for none", value, word)
			}
		}
		p.steps = append(p.steps, func(_ *proxy.Transport, h *proxy.Handler) { h.Upgrades = upgrades(value) })
		return nil
	case "mapping":
		switch strings.ToLower(value) {
		case "encoded":
			p.mapping, p.mapped = proxy.MappingRaw, true
		case "servlet":
			p.mapping, p.mapped = proxy.MappingServlet, true
		default:
			return fmt.Errorf("mapping is encoded or servlet")
		}
		return nil
	}
	return unknownParameter(fmt.Errorf("parameter %q is not known", key), key, slices.Concat(transportParameters, p.beside))
}

// transportParameters are the words that set takes, and has an effect for.
var transportParameters = []string{"min", "max", "smax", "acquire", "connectiontimeout", "timeout", "ttl", "retry", "disablereuse", "enablereuse", "addressttl", "keepalive", "iobuffersize", "receivebuffersize",
	"flushpackets", "flushwait", "secret", "ping", "responsefieldsize", "upgrade", "mapping", "nocanon", "noquery"}

// unknownParameter adds to an error the parameter that may have been meant.
func unknownParameter(err error, key string, known []string) error {
	near, _ := conf.Nearest(key, known)
	return didYouMean(err, near)
}

// upgrades reads the value of upgrade=.
func upgrades(value string) []string {
	if strings.EqualFold(value, "ANY") || value == "*" {
		return []string{"*"}
	}
	if strings.EqualFold(value, "NONE") {
		return []string{}
	}
	return strings.Split(value, ",")
}

// isProtocol reports whether s may stand in Upgrade: a name, and perhaps a slash
// and a version.
func isProtocol(s string) bool {
	name, version, slash := strings.Cut(s, "/")
	return httpguts.ValidHeaderFieldName(name) && (!slash || httpguts.ValidHeaderFieldName(version))
}

// pathMapping is Apache's default unless the rule says otherwise.
func (p *params) pathMapping() proxy.Mapping {
	switch {
	case p.mapped:
		return p.mapping
	case p.nocanon:
		return proxy.MappingRaw
	}
	return proxy.MappingDecoded
}
