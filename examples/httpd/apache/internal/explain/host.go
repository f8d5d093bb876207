package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// host is a virtual host, or the main server.
type host struct {
	*program
	at         *conf.Directive // nil for the main server
	outer      *host           // the main server, of a virtual host
	directives []*conf.Directive
	balancers  map[string]string // variables, by name

	set, common string // a function, and its statements: what several rules have in common
}

// rule is a ProxyPass, with the handler that it became.
type rule struct {
	at       *conf.Directive
	path     string
	match    bool
	target   string
	params   []string
	section  *conf.Directive // the <Location> that it stands in
	variable string
}

// lines are the directives of the host, and of the main server before it.
func (h *host) lines() []*conf.Directive {
	if h.outer == nil {
		return h.directives
	}
	return slices.Concat(h.outer.directives, h.directives)
}

// all returns the directives with one of these names.
func (h *host) all(names ...string) (list []*conf.Directive) {
	for _, d := range h.lines() {
		if slices.ContainsFunc(names, d.Is) {
			list = append(list, d)
		}
	}
	return list
}

// last returns the directive of that name that counts; nil if there is none.
func (h *host) last(name string) *conf.Directive {
	list := h.all(name)
	if len(list) == 0 || len(list[len(list)-1].Args) == 0 {
		return nil
	}
	return list[len(list)-1]
}

// names are the hosts of the rules, as a Mux has them; "" is every host.
func (h *host) names() (names []string) {
	if h.at == nil {
		return []string{""}
	}
	for _, d := range h.directives {
		if !d.Is("ServerName") && !d.Is("ServerAlias") {
			continue
		}
		for _, name := range d.Args {
			if _, bare, ok := strings.Cut(name, "://"); ok {
				name = bare
			}
			name, _, _ = strings.Cut(strings.ToLower(name), ":")
			if name == "" || strings.ContainsAny(strings.TrimPrefix(name, "*."), "*?/ ") {
				h.left = append(h.left, said(d))
				continue
			}
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return []string{""}
	}
	return names
}

// rules are those of the host: of its locations first, as in httpd, the last of
// them before the others.
func (h *host) rules() (rules []*rule) {
	for _, d := range slices.Backward(h.directives) {
		if !d.Section || !d.Is("Location") && !d.Is("LocationMatch") {
			continue
		}
		for _, c := range d.Children {
			if (c.Is("ProxyPass") || c.Is("ProxyPassMatch")) && len(c.Args) > 0 && len(d.Args) > 0 {
				rules = append(rules, &rule{at: c, path: d.Args[len(d.Args)-1], match: d.Is("LocationMatch") || len(d.Args) > 1, target: c.Args[0], params: c.Args[1:], section: d})
			}
		}
	}
	for _, d := range h.lines() {
		if d.Section || !d.Is("ProxyPass") && !d.Is("ProxyPassMatch") || len(d.Args) < 2 {
			continue
		}
		r := &rule{at: d, path: d.Args[0], match: d.Is("ProxyPassMatch"), target: d.Args[1], params: d.Args[2:]}
		if r.path == "~" && len(d.Args) > 2 {
			r.match, r.path, r.target, r.params = true, d.Args[1], d.Args[2], d.Args[3:]
		}
		rules = append(rules, r)
	}
	return rules
}

// explained are the directives that write looks for; what else stands in a host and
// has an effect is left to the reader.
var explained = []string{
	"ProxyPass", "ProxyPassMatch", "ProxyPassReverse", "ProxyPassReverseCookieDomain", "ProxyPassReverseCookiePath", "ProxyPreserveHost", "ProxyVia", "ProxyAddHeaders",
	"ProxyErrorOverride", "ProxyTimeout", "ProxyRequests", "ServerName", "ServerAlias", "Listen", "Header", "RequestHeader", "VirtualHost", "Location", "LocationMatch", "Proxy", "BalancerMember", "ProxySet",
	"Redirect", "RedirectMatch", "RedirectPermanent", "RedirectTemp", "SSLEngine", "SSLCertificateFile", "SSLCertificateKeyFile", "SSLProxyEngine", "CustomLog", "LogFormat", "ErrorLog", "LogLevel",
	"ServerAdmin", "ServerRoot", "LoadModule", "User", "Group", "PidFile", "KeepAlive", "ServerTokens", "ServerSignature",
}

// write writes the rules of the host.
func (h *host) write() {
	names := h.names()
	title := "The main server"
	if h.at != nil {
		title = said(h.at)
	}
	if h.at != nil || len(h.rules()) > 0 || len(h.redirects()) > 0 {
		h.line("\n// %s", title)
	}
	h.writeBalancers()
	rules := h.rules()
	h.writeCommon(rules)
	for _, r := range rules {
		h.writeRule(r, names)
	}
	h.writeRedirects(names)
	var left, told []string
	for _, d := range h.directives {
		if !slices.ContainsFunc(explained, d.Is) {
			left = append(left, said(d))
		}
	}
	for _, text := range append(left, h.left...) {
		if !slices.Contains(told, text) {
			told = append(told, text)
			h.line("// Not written here: %s", text)
		}
	}
	h.left = nil
}

// add writes the rule for a handler; an empty one is an exception.
func (h *host) add(match bool, path string, names []string, handler string) {
	where := fmt.Sprintf("Path: %q", path)
	if match {
		where = fmt.Sprintf("Match: regexp.MustCompile(%q)", "(?s)"+path)
	}
	fields := []string{where}
	if names[0] != "" {
		fields = append([]string{fmt.Sprintf("Hosts: %#v", names)}, fields...)
	}
	switch {
	case handler != "" && names[0] == "" && !match:
		h.line("m.Handle(%q, %s)", path, handler)
		return
	case handler != "":
		fields = append(fields, "Handler: "+handler)
	}
	h.line("m.Add(proxy.Rule{%s})", strings.Join(fields, ", "))
}
