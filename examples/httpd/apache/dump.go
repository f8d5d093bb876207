package apache

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
)

// Version is that of the httpd whose configurations are read.
const Version = "2.4.71"

// Modules are the modules of httpd for which <IfModule> holds, by names such as
// "proxy", in alphabetical order.
func Modules() []string {
	m := newModules(table())
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.names)), func(name string) bool { return !m.has(name + "_module") })
}

// WriteVirtualHosts writes which virtual host answers on which address, in the form
// of httpd -S.
func (s *Site) WriteVirtualHosts(w io.Writer) error {
	g := s.acquire()
	if g == nil {
		return io.ErrClosedPipe
	}
	defer g.release()
	var b strings.Builder
	b.WriteString("VirtualHost configuration:\n")
	var addresses []string
	at := make(map[string][]*host)
	for _, h := range g.hosts[1:] {
		for _, a := range h.scope.addresses {
			ip, port := splitAddress(a)
			a = net.JoinHostPort(cmp.Or(ip, "*"), cmp.Or(port, "*"))
			if at[a] == nil {
				addresses = append(addresses, a)
			}
			at[a] = append(at[a], h)
		}
	}
	for _, a := range addresses {
		hosts := at[a]
		place := func(h *host) string {
			return fmt.Sprintf("%s (%s:%d)", h.name, h.scope.at.File, h.scope.at.Line)
		}
		if len(hosts) == 1 && len(hosts[0].scope.names) < 2 {
			fmt.Fprintf(&b, "%-22s %s\n", a, place(hosts[0]))
			continue
		}
		fmt.Fprintf(&b, "%-22s is a NameVirtualHost\n%9sdefault server %s\n", a, "", place(hosts[0]))
		_, port, _ := net.SplitHostPort(a)
		for _, h := range hosts {
			fmt.Fprintf(&b, "%9sport %s namevhost %s\n", "", port, place(h))
			for i, name := range h.scope.names {
				switch {
				case i == 0:
				case strings.ContainsAny(name, "*?"):
					fmt.Fprintf(&b, "%17swild alias %s\n", "", name)
				default:
					fmt.Fprintf(&b, "%17salias %s\n", "", name)
				}
			}
		}
	}
	fmt.Fprintf(&b, "ServerRoot: %q\n", g.opt.Root)
	if root := g.hosts[0].settings.documentRoot; root != "" {
		fmt.Fprintf(&b, "Main DocumentRoot: %q\n", root)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
