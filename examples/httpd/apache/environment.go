package apache

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
)

// environment holds the variables of one request. A nil one is empty.
type environment map[string]string

// visit is one request at this server; it travels in the request's context.
type visit struct {
	refused  int         // the status for a head beyond the limits, or 0
	sections sectionList // those that apply
	rewrites rewrites

	site    *generation
	host    *host
	client  *http.Request // as the backend's handler gets it
	env     environment
	path    string // decoded, as sections are compared with it
	found   destination
	handler string // what answers, by SetHandler or AddHandler
	served  *served
	page    int           // the status whose ErrorDocument is being served; 0 for none
	user    string        // who has authenticated
	authErr error         // why credentials do not count
	target  string        // what a forward request is for
	came    *http.Request // as it came from the client

	subrequests int // within each other; see reaches

	lookedUp, hostname string // an address, and its name; see remoteHost

	notes  environment // of Header note
	answer http.Header // the answer's, once there is one
	status int         // the answer's
	before int64       // how many requests its connection has had before

	redirects int // how often it was led elsewhere
}

type visitKey struct{}

func visitOf(r *http.Request) *visit {
	v, _ := r.Context().Value(visitKey{}).(*visit)
	return v
}

// original returns the request as it came from the client.
func (v *visit) original(r *http.Request) *http.Request {
	if v.came != nil {
		return v.came
	}
	return r
}

// set gives a variable a value.
func (v *visit) set(name, value string) {
	if v.env == nil {
		v.env = make(environment)
	}
	v.env[name] = value
}

// envStep changes the variables of a request.
type envStep func(v *visit, r *http.Request)

// envDirectives are those of mod_env and mod_setenvif.
func envDirectives() []directive {
	const dir = anywhere
	return []directive{
		{name: "SetEnv", in: dir, min: 1, max: 2, note: "proxy-nokeepalive and nokeepalive have the effect they have in httpd", apply: func(b *builder, s *scope, d *conf.Directive) error {
			name, value := d.Args[0], strings.Join(d.Args[1:], "")
			b.checkVariable(d, name)
			s.settings.setEnv = append(s.settings.setEnv, func(v *visit, _ *http.Request) { v.set(name, value) })
			return nil
		}},
		{name: "UnsetEnv", in: dir, min: 1, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			s.settings.setEnv = append(s.settings.setEnv, func(v *visit, _ *http.Request) {
				for _, name := range d.Args {
					delete(v.env, name)
				}
			})
			return nil
		}},
		{name: "PassEnv", in: dir, min: 1, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			for _, name := range d.Args {
				if value, ok := os.LookupEnv(name); ok {
					s.settings.setEnv = append(s.settings.setEnv, func(v *visit, _ *http.Request) { v.set(name, value) })
				}
			}
			return nil
		}},
		{name: "SetEnvIf", in: dir, min: 3, max: -1, note: "of the special variables no-proxy, proxy-nokeepalive and nokeepalive have their effect", apply: applySetEnvIf},
		{name: "SetEnvIfNoCase", in: dir, min: 3, max: -1, apply: applySetEnvIf},
		{name: "BrowserMatch", in: dir, min: 2, max: -1, apply: applySetEnvIf},
		{name: "BrowserMatchNoCase", in: dir, min: 2, max: -1, apply: applySetEnvIf},
	}
}

// checkVariable warns of variables that steer httpd and mean nothing here.
func (b *builder) checkVariable(d *conf.Directive, name string) {
	why := map[string]string{
		"force-proxy-request-1.0":    "backends are always spoken to in HTTP/1.1",
		"proxy-initial-not-pooled":   "a request that meets a closed connection is sent again by itself",
		"proxy-sendcl":               "bodies of unknown length are sent on at once, chunked",
		"proxy-sendchunked":          "bodies of known length are sent on with their length",
		"proxy-sendchunks":           "bodies of known length are sent on with their length",
		"proxy-interim-response":     "interim answers are always passed on",
		"proxy-prefetch-nonblocking": "bodies are never held back",
		"proxy-nohalfclose":          "tunnels always pass half-closed connections on",
		"Proxy-Chain-Auth":           "Proxy-Authorization belongs to this proxy",
		"downgrade-1.0":              "answers are always in HTTP/1.1",
		"force-response-1.0":         "answers are always in HTTP/1.1",
	}[name]
	if why != "" {
		b.warn(d.Errorf("%s has no effect: %s", name, why))
	}
}

// applySetEnvIf reads "attribute regex [!]name[=value] …"; BrowserMatch has
// the attribute User-Agent.
func applySetEnvIf(b *builder, s *scope, d *conf.Directive) error {
	words := d.Args
	attribute := "User-Agent"
	if strings.HasPrefix(strings.ToLower(d.Name), "setenvif") {
		attribute, words = words[0], words[1:]
	}
	value, err := attributeOf(attribute)
	if err != nil {
		return err
	}
	text := words[0]
	if strings.HasSuffix(strings.ToLower(d.Name), "nocase") {
		text = "(?i)" + text
	}
	re, err := pattern.Compile(text)
	if err != nil {
		return err
	}
	type change struct {
		name, value string
		remove      bool
	}
	var changes []change
	for _, w := range words[1:] {
		name, value, given := strings.Cut(w, "=")
		c := change{name: name, value: value}
		if rest, not := strings.CutPrefix(name, "!"); not {
			c.name, c.remove = rest, true
		} else if !given {
			c.value = "1"
		}
		if c.name == "" {
			return fmt.Errorf("%q names no variable", w)
		}
		b.checkVariable(d, c.name)
		changes = append(changes, c)
	}
	s.settings.envIf = append(s.settings.envIf, func(v *visit, r *http.Request) {
		subject := value(v, r)
		found := re.FindStringSubmatch(subject)
		if found == nil {
			return
		}
		for _, c := range changes {
			if c.remove {
				delete(v.env, c.name)
			} else {
				v.set(c.name, substitute(c.value, found))
			}
		}
	})
	return nil
}

// substitute replaces $0 to $9 by groups, as Apache does: a backslash takes
// the meaning away, and a group that took no part is empty.
func substitute(text string, groups []string) string {
	if !strings.ContainsAny(text, `$\&`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && (text[i+1] == '$' || text[i+1] == '&'):
			i++
			b.WriteByte(text[i])
		case c == '&':
			b.WriteString(groups[0])
		case c == '$' && i+1 < len(text) && '0' <= text[i+1] && text[i+1] <= '9':
			i++
			if n := int(text[i] - '0'); n < len(groups) {
				b.WriteString(groups[n])
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// attributeOf returns what reads an attribute of SetEnvIf: one of the special
// names, or a field of the request, or else a variable set before.
func attributeOf(name string) (func(v *visit, r *http.Request) string, error) {
	switch strings.ToLower(name) {
	case "remote_addr":
		return func(_ *visit, r *http.Request) string { return hostOf(r.RemoteAddr) }, nil
	case "server_addr":
		return func(_ *visit, r *http.Request) string { return hostOf(localAddr(r)) }, nil
	case "request_method":
		return func(_ *visit, r *http.Request) string { return r.Method }, nil
	case "request_protocol":
		return func(_ *visit, r *http.Request) string { return r.Proto }, nil
	case "request_uri":
		return func(v *visit, r *http.Request) string { return v.path }, nil
	case "host":
		return func(_ *visit, r *http.Request) string { return r.Host }, nil
	case "remote_host", "remote_user":
		return nil, fmt.Errorf("attribute %s is not supported", name)
	}
	if strings.ContainsAny(name, `^$.*+?()[]{}|\`) || strings.HasPrefix(strings.ToLower(name), "oid(") {
		return nil, fmt.Errorf("attribute %q: only names of fields and variables are supported", name)
	}
	field := http.CanonicalHeaderKey(name)
	return func(v *visit, r *http.Request) string {
		if values, ok := r.Header[field]; ok {
			return strings.Join(values, ", ")
		}
		return v.env[name]
	}, nil
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

func localAddr(r *http.Request) string {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return a.String()
	}
	return ""
}
