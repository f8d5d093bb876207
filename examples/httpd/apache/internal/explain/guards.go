package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// guards are the <Location> sections of a host that say who may come in.
func (h *host) guards() (list []*conf.Directive) {
	for _, d := range h.directives {
		if d.Section && d.Is("Location") && len(d.Args) == 1 && strings.HasPrefix(d.Args[0], "/") && guards(d) {
			list = append(list, d)
		}
	}
	return list
}

// guards reports whether a section says who may come in.
func guards(d *conf.Directive) bool {
	return slices.ContainsFunc(d.Children, func(c *conf.Directive) bool {
		return c.Is("Require") || c.Is("Order") || c.Is("Allow") || c.Is("Deny") || c.Is("Satisfy") || c.Section && (c.Is("RequireAll") || c.Is("RequireAny") || c.Is("RequireNone") || c.Is("Limit") || c.Is("LimitExcept") || c.Is("If"))
	})
}

// guarded returns a handler with what its path's last guard asks for around it.
func (h *host) guarded(handler, path string) string {
	for _, d := range slices.Backward(h.guards()) {
		if under(path, d.Args[0]) {
			return h.guardedBy(handler, d)
		}
	}
	return handler
}

// guardedBy writes what a section asks for. What has no short form refuses all.
func (h *host) guardedBy(handler string, d *conf.Directive) string {
	var prefixes []string
	users, granted := false, false
	for _, c := range d.Children {
		switch {
		case c.Is("Require") && !c.Section && len(c.Args) > 0:
			what := strings.ToLower(strings.Join(c.Args, " "))
			switch {
			case what == "all granted":
				granted = true
			case what == "all denied":
			case what == "local":
				prefixes = append(prefixes, "127.0.0.0/8", "::1/128")
			case what == "valid-user":
				users = true
			case strings.EqualFold(c.Args[0], "ip") && len(c.Args) > 1:
				for _, a := range c.Args[1:] {
					p, ok := network(a)
					if !ok {
						return h.refused(handler, c)
					}
					prefixes = append(prefixes, p)
				}
			default:
				return h.refused(handler, c)
			}
		case guards(&conf.Directive{Children: []*conf.Directive{c}}):
			return h.refused(handler, c)
		}
	}
	switch {
	case granted:
		return handler
	case users && len(prefixes) > 0:
		return h.refused(handler, d)
	case users:
		return h.withUsers(handler, d)
	case len(prefixes) > 0:
		var list []string
		for _, p := range prefixes {
			list = append(list, fmt.Sprintf("netip.MustParsePrefix(%q)", p))
		}
		return fmt.Sprintf("access.RequireIP(%s)(%s)", strings.Join(list, ", "), handler)
	}
	return `http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Forbidden", http.StatusForbidden) })`
}

// network reads an address, a network, or the beginning of an address.
func network(text string) (string, bool) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked().String(), true
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()).String(), true
	}
	parts := strings.Split(strings.TrimSuffix(text, "."), ".")
	if len(parts) > 3 {
		return "", false
	}
	bits := 8 * len(parts)
	for len(parts) < 4 {
		parts = append(parts, "0")
	}
	p, err := netip.ParsePrefix(fmt.Sprintf("%s/%d", strings.Join(parts, "."), bits))
	return p.String(), err == nil
}

// refused lets nobody in, and says what is missing.
func (h *host) refused(handler string, d *conf.Directive) string {
	h.helper("refuse", `// refuse stands where the configuration says who may come in, and nobody has written
// it yet.
func refuse(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Forbidden", http.StatusForbidden) })
}`)
	h.line("// Write who may come in, in place of refuse: %s", said(d))
	return "refuse(" + handler + ")"
}

// withUsers asks for names and passwords.
func (h *host) withUsers(handler string, d *conf.Directive) string {
	var file, realm string
	for _, c := range slices.Concat(h.lines(), d.Children) {
		switch {
		case len(c.Args) != 1:
		case c.Is("AuthUserFile"):
			file = c.Args[0]
		case c.Is("AuthName"):
			realm = c.Args[0]
		case c.Is("AuthType") && !strings.EqualFold(c.Args[0], "Basic"):
			return h.refused(handler, d)
		}
	}
	if file == "" {
		return h.refused(handler, d)
	}
	users := h.variable("users")
	h.line("%s, err := access.OpenHtpasswd(%q)\n%s", users, file, check)
	return fmt.Sprintf("(&access.BasicAuth{Realm: %q, Verify: %[2]s.Verify, Stamp: %[2]s.Stamp}).Wrap(%[3]s)", realm, users, handler)
}
