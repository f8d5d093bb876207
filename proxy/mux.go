package proxy

import (
	"log/slog"
	"net/http"
	"net/url"
	"regexp"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// Mux hands requests to handlers by an ordered list of rules. The first rule
// that fits decides, not the longest, so an exception stands before the wider
// rule it is taken from:
//
//	var m proxy.Mux
//	m.Except("/app/static")                        // ProxyPass /app/static !
//	m.ProxyPass("/app", "http://127.0.0.1:8080/x") // ProxyPass /app http://127.0.0.1:8080/x
//
// Rules look at the decoded path without dot segments, with slashes merged. A
// prefix "/plain" fits "/plain" and "/plain/x", not "/plainx"; a prefix
// "/slash/" does not fit "/slash". Case matters. The request is handed on as it
// came.
//
// A path with an escaped slash (%2F) is answered with 404 as soon as there is a
// rule, see AllowEncodedSlashes. A request whose path is malformed or climbs above the root, or whose Host is
// none ([exchange.ParseHost]), is answered with 400. "OPTIONS *", and CONNECT, have no path and go to Next.
//
// The zero value is ready for use. Add all rules before serving; from then on
// a Mux may be used by any number of goroutines.
type Mux struct {
	// Next serves what no rule takes, and exceptions. If nil, the answer is 404.
	Next http.Handler

	// Mapping is how the rules read a path. It is also given to the handlers
	// that ProxyPass and ProxyPassMatch make, so set it first. Rules that need
	// another go into a Mux of their own, joined by Next.
	Mapping Mapping

	// AllowEncodedSlashes takes paths with "%2F". It is then no separator: for an
	// expression, or a prefix that means one, it reads "%2F". A backend that
	// takes it for a slash sees a path that no rule has seen, and no rule
	// protects it: "/%2fadmin/" is not under "/admin/". If false, such a path is
	// answered with 404. As Mapping it is given to the handlers of ProxyPass and
	// ProxyPassMatch. Apache: AllowEncodedSlashes NoDecode.
	AllowEncodedSlashes bool

	// Logger gets each rule that is tried at [exchange.LevelTrace2], and the one that
	// fits at [exchange.LevelTrace1]. If nil, nothing is logged.
	Logger *slog.Logger

	rules []muxRule
}

// muxRule is one line of the list: a prefix, or an expression if not nil. A nil
// handler is an exception.
type muxRule struct {
	prefix  string
	re      *regexp.Regexp
	handler http.Handler
}

// Handle adds a rule for the paths under prefix, which begins with "/" and is
// written decoded; "" fits every path. It panics when prefix is not such a
// path, or h is nil.
func (m *Mux) Handle(prefix string, h http.Handler) {
	if h == nil {
		panic("proxy: nil handler")
	}
	m.add(prefix, h)
}

// HandleMatch adds a rule for the paths that re matches anywhere; write "^" to
// anchor it, and "(?s)" if "." is to match a newline that came as %0A, as it
// does in Apache. It panics when re or h is nil.
func (m *Mux) HandleMatch(re *regexp.Regexp, h http.Handler) {
	if h == nil {
		panic("proxy: nil handler")
	}
	m.addMatch(re, h)
}

// Except adds an exception: paths under prefix go to Next, whatever rules
// follow. It panics as Handle does. Apache: ProxyPass prefix !
func (m *Mux) Except(prefix string) { m.add(prefix, nil) }

// ExceptMatch adds an exception for the paths that re matches, as HandleMatch
// says. It panics when re is nil. Apache: ProxyPassMatch regex !
func (m *Mux) ExceptMatch(re *regexp.Regexp) { m.addMatch(re, nil) }

// ProxyPass adds a rule that forwards the paths under prefix to target, and
// returns its handler for further settings. Errors are those of [NewHandler].
func (m *Mux) ProxyPass(prefix, target string) (*Handler, error) {
	h, err := NewHandler(prefix, target)
	if err != nil {
		return nil, err
	}
	h.Mapping, h.AllowEncodedSlashes = m.Mapping, m.AllowEncodedSlashes
	m.Handle(prefix, h)
	return h, nil
}

// ProxyPassMatch adds a rule that forwards the paths that match pattern to
// target, in which $1 to $9 stand for its groups, and returns its handler for
// further settings. Errors are those of [NewMatchHandler].
func (m *Mux) ProxyPassMatch(pattern, target string) (*Handler, error) {
	h, err := NewMatchHandler(pattern, target)
	if err != nil {
		return nil, err
	}
	h.Mapping, h.AllowEncodedSlashes = m.Mapping, m.AllowEncodedSlashes
	m.HandleMatch(h.rule.match.re, h)
	return h, nil
}

// ServeHTTP hands the request to the first rule that fits.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, err := m.pick(r)
	switch {
	case err != nil:
		exchange.WriteRefusal(w, r, err)
	case h != nil:
		h.ServeHTTP(w, r)
	case m.Next != nil:
		m.Next.ServeHTTP(w, r)
	default:
		exchange.WriteErrorPage(w, r, http.StatusNotFound)
	}
}

// pick returns the handler of the first rule that fits; nil is Next.
func (m *Mux) pick(r *http.Request) (http.Handler, error) {
	if err := exchange.CheckHost(r); err != nil {
		return nil, err
	}
	if isAsterisk(r.URL) || r.Method == http.MethodConnect && hasNoPath(r.URL) {
		return nil, nil
	}
	c, err := canonicalPath(r.URL, m.Mapping)
	if err != nil {
		return nil, err
	}
	if c.slashes && !m.AllowEncodedSlashes && len(m.rules) > 0 {
		return nil, errEncodedSlash()
	}
	traced := m.Logger != nil && m.Logger.Enabled(r.Context(), exchange.LevelTrace1)
	var text string // of c; the same for all expressions
	for i := range m.rules {
		ru := &m.rules[i]
		fits := false
		if ru.re == nil {
			_, fits = c.hasPrefix(ru.prefix)
		} else {
			if text == "" {
				text, _ = c.text()
			}
			fits = ru.re.MatchString(text)
		}
		if traced {
			m.trace(r, ru, fits)
		}
		if fits {
			return ru.handler, nil
		}
	}
	return nil, nil
}

// trace logs that a rule was tried.
func (m *Mux) trace(r *http.Request, ru *muxRule, fits bool) {
	text := ru.prefix
	if ru.re != nil {
		text = ru.re.String()
	}
	m.Logger.Log(r.Context(), exchange.LevelTrace2, "proxy: rule tried", "rule", text, "path", r.URL.Path, "fits", fits)
	if fits {
		m.Logger.Log(r.Context(), exchange.LevelTrace1, "proxy: rule fits", "rule", text, "path", r.URL.Path, "exception", ru.handler == nil)
	}
}

// hasNoPath reports whether a URL is the authority that CONNECT names.
func hasNoPath(u *url.URL) bool { return u.Path == "" && u.RawPath == "" }

func (m *Mux) add(prefix string, h http.Handler) {
	cleaned, err := cleanPrefix(prefix)
	if err != nil {
		panic(err.Error())
	}
	m.rules = append(m.rules, muxRule{prefix: cleaned, handler: h})
}

func (m *Mux) addMatch(re *regexp.Regexp, h http.Handler) {
	if re == nil {
		panic("proxy: nil expression")
	}
	m.rules = append(m.rules, muxRule{re: re, handler: h})
}
