package proxy

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// Rule is a rule of a [Mux]: which requests it takes, and who serves them. All
// that is set must fit; the zero Rule is an exception for every request.
type Rule struct {
	// Methods are those that fit; "GET" stands for HEAD, too. None means all.
	Methods []string

	// Hosts are the names that fit, without a port, which is not looked at.
	// "*.example.com" stands for all names below example.com, however deep, and
	// not for itself. Case does not matter, nor a dot at the end; a name beyond
	// ASCII is written as it is sent ("xn--…"). None means all, and requests
	// that name no host.
	Hosts []string

	// Path is a prefix of the path, as in [Mux.Handle]. Empty means all.
	Path string

	// Match is an expression for the path, as in [Mux.HandleMatch]. Nil means
	// all.
	Match *regexp.Regexp

	// Header and Query must all hold for the header, and for the parameters of
	// the query. Those choose, they protect nothing: a backend may read a field
	// or a query in another way.
	Header, Query []Condition

	// Handler serves the requests. If nil, the rule is an exception: they go to
	// [Mux].Next, whatever rules follow.
	Handler http.Handler
}

// Condition is what a [Rule] asks of a field of the header or of a parameter of
// the query. If nothing but the name is set, it must be there; of several fields
// or parameters with the name one is enough.
type Condition struct {
	// Name is that of the field, in which case does not matter, or of the
	// parameter, in which it does.
	Name string

	// Values are those that fit: the whole of a field, or a parameter decoded.
	Values []string

	// Match fits values that it matches anywhere.
	Match *regexp.Regexp
}

// muxRule is a Rule, checked.
type muxRule struct {
	Rule
	hosts []string // as hostForRules; a wildcard begins with a dot
	text  string   // for logs
}

// ruleRequest is a request as rules see it.
type ruleRequest struct {
	*http.Request
	path canonical
	host string

	text  string     // of path, for expressions; empty if not read yet
	query url.Values // nil if not read yet

	// Of the search:
	rules   []*muxRule
	key     string          // of path, for prefixes
	best    int             // the place of the first rule that fits so far
	allowed map[string]bool // if not nil, gets the methods of rules that fit but for them
}

// parsePattern reads "[METHOD ][HOST]/PREFIX".
func parsePattern(pattern string) (Rule, error) {
	slash := strings.IndexByte(pattern, '/')
	if pattern == "" || slash == 0 {
		return Rule{Path: pattern}, nil
	}
	if slash < 0 {
		return Rule{}, fmt.Errorf("proxy: pattern %q has no path", pattern)
	}
	ru, host := Rule{Path: pattern[slash:]}, pattern[:slash]
	if blank := strings.IndexAny(host, " \t"); blank >= 0 {
		ru.Methods, host = []string{host[:blank]}, strings.Trim(host[blank:], " \t")
	}
	if host != "" {
		ru.Hosts = []string{host}
	}
	return ru, nil
}

func mustParsePattern(pattern string) Rule {
	ru, err := parsePattern(pattern)
	if err != nil {
		panic(err.Error())
	}
	return ru
}

// newMuxRule checks a rule. What it keeps is its own.
func newMuxRule(ru Rule) (*muxRule, error) {
	made := &muxRule{Rule: ru, text: ru.Path}
	var err error
	if made.Path, err = cleanPrefix(ru.Path); err != nil {
		return nil, err
	}
	if ru.Match != nil {
		made.text += ru.Match.String()
	}
	if len(ru.Hosts) > 0 {
		made.text = strings.Join(ru.Hosts, ",") + made.text
	}
	if len(ru.Methods) > 0 {
		made.text = strings.Join(ru.Methods, ",") + " " + made.text
	}
	made.Methods = slices.Clone(ru.Methods)
	for _, method := range made.Methods {
		if !syntax.IsToken(method) {
			return nil, fmt.Errorf("proxy: rule: method %q is none", method)
		}
	}
	for _, host := range ru.Hosts {
		name, err := ruleHost(host)
		if err != nil {
			return nil, err
		}
		made.hosts = append(made.hosts, name)
	}
	if made.Header, err = checkConditions(ru.Header); err != nil {
		return nil, err
	}
	for i := range made.Header {
		name := http.CanonicalHeaderKey(made.Header[i].Name)
		if !syntax.IsToken(name) || name == "Host" {
			return nil, fmt.Errorf("proxy: rule: %q is no field to look at", name)
		}
		made.Header[i].Name = name
	}
	made.Query, err = checkConditions(ru.Query)
	return made, err
}

// ruleHost checks a host of a rule. A wildcard comes back with a dot in front.
func ruleHost(host string) (string, error) {
	rest, wildcard := strings.CutPrefix(host, "*.")
	name, port, err := exchange.ParseHost(rest)
	if err != nil || name == "" || port != "" || rest[len(rest)-1] == ':' || strings.Contains(name, "*") || wildcard && rest[0] == '[' {
		return "", fmt.Errorf("proxy: rule: host %q is no name without a port", host)
	}
	if name = hostForRules(rest); wildcard {
		name = "." + name
	}
	return name, nil
}

// hostForRules is a valid Host in the form in which rules compare it: without a
// port, and in one spelling.
func hostForRules(host string) string {
	name, _, _ := exchange.ParseHost(host)
	if host != "" && host[0] == '[' {
		if addr, err := netip.ParseAddr(name); err == nil {
			return "[" + addr.String() + "]"
		}
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

func checkConditions(list []Condition) ([]Condition, error) {
	list = slices.Clone(list)
	for i := range list {
		c := &list[i]
		if c.Name == "" || len(c.Values) > 0 && c.Match != nil {
			return nil, fmt.Errorf("proxy: rule: condition %q needs a name, and Values or Match, not both", c.Name)
		}
		c.Values = slices.Clone(c.Values)
	}
	return list, nil
}

// takes reports whether a method fits.
func (ru *muxRule) takes(method string) bool {
	return len(ru.Methods) == 0 || slices.Contains(ru.Methods, method) ||
		method == http.MethodHead && slices.Contains(ru.Methods, http.MethodGet)
}

// fits reports whether all but the method fits.
func (ru *muxRule) fits(q *ruleRequest) bool {
	if _, ok := q.path.hasPrefix(ru.Path); !ok {
		return false
	}
	if !ru.isFor(q.host) {
		return false
	}
	for i := range ru.Header {
		if c := &ru.Header[i]; !c.holds(q.Header[c.Name]) {
			return false
		}
	}
	if len(ru.Query) > 0 && q.query == nil {
		q.query, _ = url.ParseQuery(q.URL.RawQuery) // what is malformed is not there
	}
	for i := range ru.Query {
		if c := &ru.Query[i]; !c.holds(q.query[c.Name]) {
			return false
		}
	}
	return ru.Match == nil || ru.Match.MatchString(q.decoded())
}

// isFor reports whether the host fits.
func (ru *muxRule) isFor(name string) bool {
	for _, host := range ru.hosts {
		if name == host || host[0] == '.' && len(name) > len(host) && strings.HasSuffix(name, host) {
			return true
		}
	}
	return len(ru.hosts) == 0
}

// decoded is the path for expressions.
func (q *ruleRequest) decoded() string {
	if q.text == "" {
		q.text, _ = q.path.text()
	}
	return q.text
}

// holds reports whether one of the values that are there fits.
func (c *Condition) holds(values []string) bool {
	switch {
	case c.Match != nil:
		return slices.ContainsFunc(values, c.Match.MatchString)
	case len(c.Values) > 0:
		return slices.ContainsFunc(values, func(v string) bool { return slices.Contains(c.Values, v) })
	}
	return len(values) > 0
}
