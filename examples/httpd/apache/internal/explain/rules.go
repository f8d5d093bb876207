package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// writeRule writes a rule, and the narrower ones before it in whose places others
// may come in.
func (h *host) writeRule(r *rule, names []string) {
	h.note(r.at)
	if r.target == "!" {
		h.add(r.match, r.path, names, "")
		return
	}
	if !h.writeHandler(r) {
		return
	}
	for _, d := range slices.Backward(h.guards()) {
		inner := d.Args[0]
		if r.match || !under(inner, r.path) || inner == r.path || d == r.section {
			continue
		}
		h.note(d)
		h.add(false, inner, names, h.guarded(r.variable, inner))
	}
	h.add(r.match, r.path, names, h.guarded(r.variable, r.path))
}

// under reports whether a path is below a prefix, or is it.
func under(path, prefix string) bool {
	return strings.HasPrefix(path, prefix) && (strings.HasSuffix(prefix, "/") || len(path) == len(prefix) || path[len(prefix)] == '/')
}

// writeHandler writes the handler of a rule into a variable, which it names.
func (h *host) writeHandler(r *rule) bool {
	_, text := cutSocket(r.target)
	scheme, _, _ := strings.Cut(strings.ToLower(text), "://")
	make, args := "proxy.NewHandler", fmt.Sprintf("%q, %q", r.path, r.target)
	field := "" // where the proxy.Handler is
	switch {
	case r.match:
		make, args = "proxy.NewMatchHandler", fmt.Sprintf("%q, %q", r.path, r.target)
	case scheme == "ws" || scheme == "wss":
		make, field = "wstunnel.NewHandler", ".Proxy"
	case scheme == "ajp":
		make = "ajp.NewHandler"
	case scheme == "ftp" || scheme == "ftps" || scheme == "ftpes":
		make = "ftpproxy.NewHandler"
	case !slices.Contains([]string{"http", "https", "h2", "h2c", "fcgi", "scgi", "uwsgi", "balancer"}, scheme):
		h.line("// Not written here: the scheme %s", oneLine(scheme))
		return false
	}
	r.variable = h.variable("app")
	h.line("%s, err := %s(%s)\n%s", r.variable, make, args, check)
	on := r.variable + field
	switch {
	case scheme == "balancer":
		name, _, _ := strings.Cut(text[len("balancer://"):], "/")
		if b := h.balancer(name); b != "" {
			h.line("%s.Transport = %s", on, b)
		}
	case scheme == "fcgi" || scheme == "scgi" || scheme == "uwsgi":
		h.line("%s.Transport = &%s.Transport{}", on, scheme)
	case scheme == "ajp" && r.match:
		h.line("%s.Transport = &ajp.Transport{}", on)
	}
	h.writeParams(r, on, scheme)
	switch own := h.settings(r, "h"); {
	case h.common != "" && own == h.common:
		h.line("%s(%s)", h.set, on)
	case own != "":
		h.line("%s", h.settings(r, on))
	}
	return true
}

// writeCommon writes what several rules of the host have in common into a function.
func (h *host) writeCommon(rules []*rule) {
	counts := make(map[string]int)
	for _, r := range rules {
		if r.target != "!" {
			counts[h.settings(r, "h")]++
		}
	}
	for _, r := range rules {
		if text := h.settings(r, "h"); text != "" && counts[text] > 1 && counts[text] > counts[h.common] {
			h.common = text
		}
	}
	if h.common != "" {
		h.set = h.variable("set")
		h.line("%s := func(h *proxy.Handler) {\n%s\n}", h.set, h.common)
	}
}

// cutSocket cuts "unix:/path|" off a target.
func cutSocket(target string) (socket, text string) {
	if rest, ok := strings.CutPrefix(target, "unix:"); ok {
		if socket, text, ok := strings.Cut(rest, "|"); ok {
			return socket, text
		}
	}
	return "", target
}

// params are the parameters of ProxyPass that are fields of a backend.Backend.
var params = map[string]struct {
	field string
	unit  string // of a duration; "" for a number
}{
	"min": {"MinIdle", ""}, "max": {"MaxConns", ""}, "smax": {"MaxIdle", ""}, "iobuffersize": {"ReadBufferSize", ""}, "receivebuffersize": {"ReceiveBufferSize", ""},
	"acquire": {"AcquireTimeout", "time.Millisecond"}, "connectiontimeout": {"ConnectTimeout", "time.Second"}, "timeout": {"Timeout", "time.Second"}, "ttl": {"IdleTTL", "time.Second"},
}

// writeParams writes what is said of the backend's connections.
func (h *host) writeParams(r *rule, on, scheme string) {
	var fields []string
	words := slices.Clone(r.params)
	if d := h.last("ProxyTimeout"); d != nil && !slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(strings.ToLower(w), "timeout=") }) {
		words = append(words, "timeout="+d.Args[0])
	}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		known, ok := params[strings.ToLower(key)]
		switch {
		case strings.EqualFold(key, "secret") && scheme == "ajp":
			h.line("%s.Transport.(*ajp.Transport).Secret = os.Getenv(\"AJP_SECRET\") // secret=", on)
		case strings.EqualFold(key, "upgrade") && !strings.EqualFold(value, "NONE"):
			if strings.EqualFold(value, "ANY") {
				value = "*"
			}
			h.line("%s.Upgrades = []string{%q}", on, value)
		case strings.EqualFold(key, "disablereuse") || strings.EqualFold(key, "enablereuse"):
			if strings.EqualFold(value, "on") == strings.EqualFold(key, "disablereuse") {
				fields = append(fields, "DisableReuse: true")
			}
		case ok && known.unit == "":
			if n, err := strconv.Atoi(value); err == nil {
				fields = append(fields, fmt.Sprintf("%s: %d", known.field, n))
				continue
			}
			h.line("// Not written here: %s", oneLine(w))
		case ok:
			if d := goDuration(value, known.unit); d != "" {
				fields = append(fields, known.field+": "+d)
				continue
			}
			h.line("// Not written here: %s", oneLine(w))
		case strings.EqualFold(key, "nocanon"): // paths are passed on as they come
		case slices.Contains([]string{"retry", "flushpackets", "keepalive"}, strings.ToLower(key)): // without effect, or by itself
		default:
			h.line("// Not written here: %s", oneLine(key))
		}
	}
	if len(fields) == 0 || scheme == "balancer" {
		return
	}
	socket, _ := cutSocket(r.target)
	where := fmt.Sprintf("URL: &url.URL{Scheme: %[1]s.Target.Scheme, Host: %[1]s.Target.Host}", on)
	if r.match {
		_, text := cutSocket(r.target)
		s, rest, _ := strings.Cut(text, "://")
		authority, _, _ := strings.Cut(rest, "/")
		where = fmt.Sprintf("URL: &url.URL{Scheme: %q, Host: %q}", s, authority)
	}
	if socket != "" {
		where += fmt.Sprintf(", Socket: %q", socket)
	}
	b := fmt.Sprintf("&backend.Backend{%s, %s}", where, strings.Join(fields, ", "))
	switch scheme {
	case "fcgi", "scgi", "uwsgi", "ajp", "ftp", "ftps", "ftpes":
		name := scheme
		if strings.HasPrefix(scheme, "ftp") {
			name = "ftpproxy"
		}
		h.line("%s.Transport.(*%s.Transport).Backend = %s", on, name, b)
	default:
		h.line("%s.Transport = &proxy.Transport{Backend: %s}", on, b)
	}
}

// goDuration writes "5", "5s" or "500ms" in Go; "" if it is none.
func goDuration(value, unit string) string {
	digits := strings.TrimRight(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	switch strings.ToLower(value[len(digits):]) {
	case "":
	case "ms":
		unit = "time.Millisecond"
	case "s":
		unit = "time.Second"
	case "mi", "min":
		unit = "time.Minute"
	case "h":
		unit = "time.Hour"
	default:
		return ""
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d * %s", n, unit)
}

// settings are what the host and its locations say of a rule, as statements.
func (h *host) settings(r *rule, on string) string {
	var text []string
	line := func(form string, args ...any) { text = append(text, fmt.Sprintf(form, args...)) }
	// The sections of the rule's path say more than the host, in their order.
	list := h.lines()
	for _, d := range h.directives {
		if d.Section && d.Is("Location") && len(d.Args) == 1 && (d == r.section || !r.match && under(r.path, d.Args[0])) || d == r.section {
			list = slices.Concat(list, d.Children)
		}
	}
	last := make(map[string]*conf.Directive)
	var reverse, domains, paths, response, request []string
	for _, d := range list {
		if d.Section || len(d.Args) == 0 {
			continue
		}
		last[strings.ToLower(d.Name)] = d
		switch {
		case d.Is("ProxyPassReverse"):
			words := d.Args
			if len(words) == 1 && r.section != nil {
				words = []string{r.path, words[0]}
			}
			if len(words) > 1 {
				reverse = append(reverse, fmt.Sprintf("{Path: %q, URL: %q}", words[0], words[1]))
			}
		case d.Is("ProxyPassReverseCookieDomain") && len(d.Args) == 2:
			domains = append(domains, fmt.Sprintf("{Internal: %q, Public: %q}", d.Args[0], d.Args[1]))
		case d.Is("ProxyPassReverseCookiePath") && len(d.Args) == 2:
			paths = append(paths, fmt.Sprintf("{Internal: %q, Public: %q}", d.Args[0], d.Args[1]))
		case d.Is("Header"):
			response = append(response, h.edit(d, "resp.Header"))
		case d.Is("RequestHeader"):
			request = append(request, h.edit(d, "pr.Out.Header"))
		}
	}
	is := func(name, word string) bool {
		d := last[strings.ToLower(name)]
		return d != nil && strings.EqualFold(d.Args[0], word)
	}
	if is("ProxyPreserveHost", "On") {
		line("%s.PreserveHost = true", on)
	}
	for _, word := range []string{"On", "Full", "Block"} {
		if is("ProxyVia", word) {
			line("%s.Via = proxy.Via%s", on, word)
		}
	}
	if is("ProxyAddHeaders", "Off") {
		line("%s.Forwarded = proxy.ForwardedOff", on)
	}
	if d := last["proxyerroroverride"]; d != nil && strings.EqualFold(d.Args[0], "On") {
		codes := ""
		if len(d.Args) > 1 && !slices.ContainsFunc(d.Args[1:], func(s string) bool { _, err := strconv.Atoi(s); return err != nil }) {
			codes = "Codes: []int{" + strings.Join(d.Args[1:], ", ") + "}"
		}
		line("%s.ErrorOverride = &proxy.ErrorOverride{%s}", on, codes)
	}
	if name := h.names()[0]; name != "" {
		line("%s.ServerName = %q", on, name)
	}
	if len(reverse) > 0 {
		line("%s.Reverse = []proxy.ReverseRule{%s}", on, strings.Join(reverse, ", "))
	}
	if len(domains) > 0 {
		line("%s.CookieDomains = []proxy.CookieRule{%s}", on, strings.Join(domains, ", "))
	}
	if len(paths) > 0 {
		line("%s.CookiePaths = []proxy.CookieRule{%s}", on, strings.Join(paths, ", "))
	}
	if len(request) > 0 {
		line("%s.Rewrite = func(pr *httputil.ProxyRequest) {\n%s\n}", on, strings.Join(request, "\n"))
	}
	if len(response) > 0 {
		line("%s.ModifyResponse = func(resp *http.Response) error {\n%s\nreturn nil\n}", on, strings.Join(response, "\n"))
	}
	return strings.Join(text, "\n")
}

// edit writes a Header or RequestHeader with a value that is always the same.
func (h *host) edit(d *conf.Directive, fields string) string {
	words := d.Args
	if strings.EqualFold(words[0], "always") || strings.EqualFold(words[0], "onsuccess") {
		words = words[1:]
	}
	if len(words) == 2 && strings.EqualFold(words[0], "unset") {
		return fmt.Sprintf("%s.Del(%q)", fields, strings.TrimSuffix(words[1], ":"))
	}
	if len(words) == 3 && !strings.Contains(strings.ReplaceAll(words[2], "%%", ""), "%") && !strings.HasPrefix(words[2], "expr=") && !strings.HasPrefix(words[2], "env=") {
		verb := map[string]string{"set": "Set", "add": "Add"}[strings.ToLower(words[0])]
		if verb != "" {
			return fmt.Sprintf("%s.%s(%q, %q)", fields, verb, strings.TrimSuffix(words[1], ":"), strings.ReplaceAll(words[2], "%%", "%"))
		}
	}
	return "// Not written here: " + said(d)
}
