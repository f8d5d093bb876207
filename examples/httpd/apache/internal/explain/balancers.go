package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// cluster is what is said of one balancer.
type cluster struct {
	name    string
	at      *conf.Directive
	members [][]string // their URLs and parameters
	params  []string
}

// clusters collects the balancers that stand in a host.
func (h *host) clusters() (list []*cluster) {
	get := func(url string, d *conf.Directive) *cluster {
		name, ok := balancerName(url)
		if !ok {
			return nil
		}
		for _, c := range list {
			if c.name == name {
				return c
			}
		}
		c := &cluster{name: name, at: d}
		list = append(list, c)
		return c
	}
	for _, d := range h.directives {
		switch {
		case d.Section && d.Is("Proxy") && len(d.Args) > 0:
			c := get(d.Args[0], d)
			if c == nil {
				continue
			}
			c.params = append(c.params, d.Args[1:]...)
			for _, in := range d.Children {
				switch {
				case in.Is("BalancerMember") && len(in.Args) > 0:
					c.members = append(c.members, in.Args)
				case in.Is("ProxySet"):
					c.params = append(c.params, in.Args...)
				}
			}
		case d.Is("BalancerMember") && len(d.Args) > 1:
			if c := get(d.Args[0], d); c != nil {
				c.members = append(c.members, d.Args[1:])
			}
		case d.Is("ProxySet") && len(d.Args) > 1:
			if c := get(d.Args[0], d); c != nil {
				c.params = append(c.params, d.Args[1:]...)
			}
		}
	}
	for _, r := range h.rules() { // a rule may have parameters of its balancer
		if name, ok := balancerName(r.target); ok {
			for _, c := range list {
				if c.name == name {
					c.params = append(c.params, r.params...)
				}
			}
		}
	}
	return slices.DeleteFunc(list, func(c *cluster) bool { return len(c.members) == 0 })
}

func balancerName(url string) (string, bool) {
	if len(url) < len("balancer://") || !strings.EqualFold(url[:len("balancer://")], "balancer://") {
		return "", false
	}
	name, _, _ := strings.Cut(strings.ToLower(url[len("balancer://"):]), "/")
	return name, name != ""
}

// balancer returns the variable of a balancer, of this host or the main server.
func (h *host) balancer(name string) string {
	name = strings.ToLower(name)
	if v := h.balancers[name]; v != "" || h.outer == nil {
		return v
	}
	if h.outer.balancers == nil { // the main server is written last
		h.outer.writeBalancers()
	}
	return h.outer.balancers[name]
}

// writeBalancers writes the balancers of a host, once.
func (h *host) writeBalancers() {
	if h.balancers != nil {
		return
	}
	h.balancers = make(map[string]string)
	for _, c := range h.clusters() {
		h.note(c.at)
		v := h.variable("balanced")
		h.balancers[c.name] = v
		fields := []string{fmt.Sprintf("Name: %q", c.name)}
		for _, w := range c.params {
			key, value, _ := strings.Cut(w, "=")
			switch strings.ToLower(key) {
			case "lbmethod":
				method := map[string]string{"bytraffic": "balancer.ByTraffic{}", "bybusyness": "&balancer.ByBusyness{}", "byrequests": "&balancer.ByRequests{}"}[strings.ToLower(value)]
				if method != "" {
					fields = append(fields, "Method: "+method)
					continue
				}
				h.line("// Not written here: %s", oneLine(w))
			case "stickysession":
				fields = append(fields, fmt.Sprintf("Sticky: balancer.ParseSticky(%q)", value))
			case "timeout":
				if d := goDuration(value, "time.Second"); d != "" {
					fields = append(fields, "Timeout: "+d)
				}
			case "maxattempts":
				if n, err := strconv.Atoi(value); err == nil && n > 0 {
					fields = append(fields, fmt.Sprintf("MaxAttempts: %d", n))
				}
			case "failontimeout":
				if strings.EqualFold(value, "on") {
					fields = append(fields, "FailOnTimeout: true")
				}
			case "nocanon":
			default:
				h.line("// Not written here: %s", oneLine(w))
			}
		}
		h.line("%s, err := balancer.New(balancer.Config{%s},", v, strings.Join(lastOfEach(fields), ", "))
		for i, m := range c.members {
			end := ","
			if i == len(c.members)-1 {
				end = ")"
			}
			h.line("%s%s", memberOf(m), end)
		}
		h.line(check)
	}
}

// lastOfEach keeps the last of fields with one name.
func lastOfEach(fields []string) (out []string) {
	for i, f := range fields {
		name, _, _ := strings.Cut(f, ":")
		if !slices.ContainsFunc(fields[i+1:], func(later string) bool { return strings.HasPrefix(later, name+":") }) {
			out = append(out, f)
		}
	}
	return out
}

// memberOf writes a member.
func memberOf(words []string) string {
	fields := []string{fmt.Sprintf("URL: %q", words[0])}
	var notes []string
	var check []string
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		n, err := strconv.ParseFloat(value, 64)
		switch key = strings.ToLower(key); {
		case key == "loadfactor" && err == nil:
			fields = append(fields, fmt.Sprintf("LoadFactor: %v", n))
		case key == "lbset" && err == nil:
			fields = append(fields, fmt.Sprintf("LBSet: %d", int(n)))
		case key == "route":
			fields = append(fields, fmt.Sprintf("Route: %q", value))
		case key == "redirect":
			fields = append(fields, fmt.Sprintf("Redirect: %q", value))
		case key == "retry" && goDuration(value, "time.Second") != "":
			fields = append(fields, "Retry: "+goDuration(value, "time.Second"))
		case key == "status" && strings.EqualFold(strings.TrimPrefix(value, "+"), "H"):
			fields = append(fields, "Flags: balancer.HotStandby")
		case key == "hcmethod":
			check = append(check, fmt.Sprintf("Method: %q", value))
		case key == "hcuri":
			check = append(check, fmt.Sprintf("Path: %q", value))
		case key == "hcinterval" && goDuration(value, "time.Second") != "":
			check = append(check, "Interval: "+goDuration(value, "time.Second"))
		case key == "hcpasses" && err == nil:
			check = append(check, fmt.Sprintf("Passes: %d", int(n)))
		case key == "hcfails" && err == nil:
			check = append(check, fmt.Sprintf("Fails: %d", int(n)))
		default:
			notes = append(notes, oneLine(key))
		}
	}
	if len(check) > 0 {
		fields = append(fields, "Check: &balancer.Check{"+strings.Join(lastOfEach(check), ", ")+"}")
	}
	text := "balancer.MemberConfig{" + strings.Join(lastOfEach(fields), ", ") + "}"
	if len(notes) > 0 {
		text = "/* not written here: " + strings.ReplaceAll(strings.Join(notes, ", "), "*/", "") + " */ " + text
	}
	return text
}
