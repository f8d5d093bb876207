package apache

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

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

	vary   []string    // fields of the request that have decided something
	notes  environment // of Header note
	answer http.Header // the answer's, once there is one
	status int         // the answer's
	before int64       // how many requests its connection has had before

	redirects int // how often it was led elsewhere

	began   time.Time
	always  http.Header   // fields of the answer, whatever it is; see alwaysHeader
	through *answerWriter // which the answer goes through; nil for none
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

// note gives a note a value, for the log.
func (v *visit) note(name, value string) {
	if v.notes == nil {
		v.notes = make(environment)
	}
	v.notes[name] = value
}

// envStep changes the variables of a request.
type envStep func(v *visit, r *http.Request)

// envSettings are the variables that SetEnv and PassEnv give. As in httpd they are
// put behind all others, and what was set before, by SetEnvIf say, stays.
type envSettings struct {
	vars  map[string]string
	unset []string // UnsetEnv: of the outer sections'
}

func (s envSettings) merge(inner envSettings) envSettings {
	if len(inner.vars)+len(inner.unset) == 0 {
		return s
	}
	vars := make(map[string]string, len(s.vars)+len(inner.vars))
	maps.Copy(vars, s.vars)
	maps.Copy(vars, inner.vars)
	for _, name := range inner.unset {
		delete(vars, name)
	}
	return envSettings{vars: vars}
}

// set is for one section, while it is read.
func (s *envSettings) set(name, value string) {
	if s.vars == nil {
		s.vars = make(map[string]string)
	}
	s.vars[name] = value
}

// putInto gives the variables to a request.
func (s *envSettings) putInto(v *visit) {
	for name, value := range s.vars {
		if _, ok := v.env[name]; !ok {
			v.set(name, value)
		}
	}
}

// envDirectives are those of mod_env and mod_setenvif.
func envDirectives() []directive {
	return []directive{
		{name: "SetEnv", in: anywhere, min: 1, max: 2, note: "special variables have the effect they have in httpd, or are warned of", apply: func(b *builder, s *scope, d *conf.Directive) error {
			b.checkVariable(d, d.Args[0])
			s.settings.env.set(d.Args[0], strings.Join(d.Args[1:], ""))
			return nil
		}},
		{name: "UnsetEnv", in: anywhere, min: 1, max: -1, note: "of SetEnv and PassEnv", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			for _, name := range d.Args {
				delete(s.settings.env.vars, name)
			}
			s.settings.env.unset = append(s.settings.env.unset, d.Args...)
			return nil
		}},
		{name: "PassEnv", in: anywhere, min: 1, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			for _, name := range d.Args {
				if value, ok := os.LookupEnv(name); ok {
					s.settings.env.set(name, value)
				}
			}
			return nil
		}},
		{name: "SetEnvIf", in: anywhere, min: 3, max: -1, note: "Remote_Host is the address: names are never looked up", apply: applySetEnvIf},
		{name: "SetEnvIfNoCase", in: anywhere, min: 3, max: -1, apply: applySetEnvIf},
		{name: "SetEnvIfExpr", in: anywhere, min: 2, max: -1, apply: applySetEnvIfExpr},
		{name: "BrowserMatch", in: anywhere, min: 2, max: -1, apply: applySetEnvIf},
		{name: "BrowserMatchNoCase", in: anywhere, min: 2, max: -1, apply: applySetEnvIf},
	}
}

// envChange is "[!]name[=value]".
type envChange struct {
	name, value string
	remove      bool
}

// readChanges reads what SetEnvIf does.
func (b *builder) readChanges(d *conf.Directive, words []string) (changes []envChange, err error) {
	for _, w := range words {
		name, value, given := strings.Cut(w, "=")
		c := envChange{name: name, value: value}
		if rest, not := strings.CutPrefix(name, "!"); not {
			c.name, c.remove = rest, true
		} else if !given {
			c.value = "1"
		}
		if c.name == "" {
			return nil, fmt.Errorf("%q names no variable", w)
		}
		if !c.remove {
			b.checkVariable(d, c.name)
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// change obeys changes, with groups for $0 to $9 if there are any.
func (v *visit) change(changes []envChange, groups []string) {
	for _, c := range changes {
		if c.remove {
			delete(v.env, c.name)
		} else {
			value := c.value
			if groups != nil {
				value = substitute(value, groups)
			}
			v.set(c.name, value)
		}
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
	flags := ""
	if strings.HasSuffix(strings.ToLower(d.Name), "nocase") {
		flags = "(?i)"
	}
	value, err := attributeOf(attribute, flags)
	if err != nil {
		return err
	}
	text := flags + words[0]
	re, err := pattern.Compile(text)
	if err != nil {
		return err
	}
	plain := regexp.QuoteMeta(words[0]) == words[0] // httpd looks for it as a text, and has no $0
	changes, err := b.readChanges(d, words[1:])
	s.settings.envIf = append(s.settings.envIf, func(v *visit, r *http.Request) {
		if found := re.FindStringSubmatch(value(v, r)); found != nil {
			if plain {
				found = nil
			}
			v.change(changes, found)
		}
	})
	return err
}

// applySetEnvIfExpr reads "expression [!]name[=value] …".
func applySetEnvIfExpr(b *builder, s *scope, d *conf.Directive) error {
	when, err := parseCondition(d.Args[0])
	if err != nil {
		return err
	}
	changes, err := b.readChanges(d, d.Args[1:])
	s.settings.envIf = append(s.settings.envIf, func(v *visit, r *http.Request) {
		if holds, groups := when.Match(v.deciding(r)); holds {
			v.change(changes, groups)
		}
	})
	return err
}

// substitute replaces $0 to $9 by groups, as Apache does: a backslash takes
// the meaning of a sign away, and a group that took no part is empty.
func substitute(text string, groups []string) string {
	if !strings.ContainsAny(text, `$\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
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
func attributeOf(name, flags string) (func(v *visit, r *http.Request) string, error) {
	switch strings.ToLower(name) {
	case "remote_addr", "remote_host":
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
	}
	if strings.HasPrefix(strings.ToLower(name), "oid(") {
		return nil, fmt.Errorf("attribute %q: parts of certificates are not known by their numbers", name)
	}
	if strings.Trim(name, "-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return fieldMatching(flags + name)
	}
	field := http.CanonicalHeaderKey(name)
	return func(v *visit, r *http.Request) string {
		if values, ok := r.Header[field]; ok {
			return strings.Join(values, ", ")
		}
		return v.env[name]
	}, nil
}

// fieldMatching returns what reads a field whose name an expression fits; of several
// the last by name.
func fieldMatching(text string) (func(v *visit, r *http.Request) string, error) {
	re, err := pattern.Compile(text)
	if err != nil {
		return nil, err
	}
	return func(_ *visit, r *http.Request) string {
		last := ""
		for name := range r.Header {
			if name > last && re.MatchString(name) {
				last = name
			}
		}
		if re.MatchString("Host") && last < "Host" {
			return r.Host
		}
		return strings.Join(r.Header[last], ", ")
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
