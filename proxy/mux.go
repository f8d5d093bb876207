package proxy

import (
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// Mux hands requests to handlers by an ordered list of rules. The first rule
// that fits decides, not the longest, so an exception stands before the wider
// rule it is taken from:
//
//	var m proxy.Mux
//	m.Except("/app/static")                        // ProxyPass /app/static !
//	m.ProxyPass("/app", "http://127.0.0.1:8080/x") // ProxyPass /app http://127.0.0.1:8080/x
//	m.Handle("GET *.shop.example/pics/", pics)     // by method and host as well
//
// Rules look at the decoded path without dot segments, with slashes merged. A
// prefix "/plain" fits "/plain" and "/plain/x", not "/plainx"; a prefix
// "/slash/" does not fit "/slash". Case matters. The request is handed on as it
// came. A [Rule] also looks at fields of the header and parameters of the query.
//
// A path with an escaped slash (%2F) is answered with 404 as soon as there is a
// rule, see AllowEncodedSlashes. A request whose path is malformed or climbs
// above the root, or whose Host is none ([exchange.ParseHost]), is answered with
// 400, and one that rules refuse for its method alone with 405 if there is no
// Next. "OPTIONS *", and CONNECT, have no path and go to Next.
//
// Ten thousand rules cost what ten do: they are found by host and by the
// beginning of the path, a prefix or what an expression that is anchored by "^"
// begins with. What costs one by one are rules that have all of that in common,
// and expressions with no such beginning, up to the first rule that fits.
//
// The zero value is ready for use. A Mux may be used by any number of
// goroutines, and rules may be added and replaced while it serves: each request
// sees the list as it was at one moment.
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

	mu   sync.Mutex // held while the list is changed
	list atomic.Pointer[ruleList]
}

// Handle adds a rule for a pattern: "[METHOD ][HOST]/PREFIX", of which method
// and host are those of a [Rule] and of http.ServeMux, and the prefix is
// written decoded; "" fits every request. It panics when the pattern is none, or
// h is nil.
func (m *Mux) Handle(pattern string, h http.Handler) {
	ru := mustParsePattern(pattern)
	ru.Handler = needHandler(h)
	m.Add(ru)
}

// HandleMatch adds a rule for the paths that re matches anywhere; write "^" to
// anchor it, and "(?s)" if "." is to match a newline that came as %0A, as it
// does in Apache. It panics when re or h is nil.
func (m *Mux) HandleMatch(re *regexp.Regexp, h http.Handler) {
	m.Add(Rule{Match: needExpression(re), Handler: needHandler(h)})
}

// Except adds an exception: what fits the pattern goes to Next, whatever rules
// follow. It panics as Handle does. Apache: ProxyPass prefix !
func (m *Mux) Except(pattern string) { m.Add(mustParsePattern(pattern)) }

// ExceptMatch adds an exception for the paths that re matches, as HandleMatch
// says. It panics when re is nil. Apache: ProxyPassMatch regex !
func (m *Mux) ExceptMatch(re *regexp.Regexp) { m.Add(Rule{Match: needExpression(re)}) }

// ProxyPass adds a rule that forwards what fits the pattern (see Handle) to
// target, and returns its handler for further settings: its Prefix is that of
// the pattern. Errors are those of [NewHandler], and of a pattern that is none.
func (m *Mux) ProxyPass(pattern, target string) (*Handler, error) {
	ru, err := parsePattern(pattern)
	if err != nil {
		return nil, err
	}
	h, err := NewHandler(ru.Path, target)
	if err != nil {
		return nil, err
	}
	return m.pass(ru, h)
}

// ProxyPassMatch adds a rule that forwards the paths that match pattern to
// target, in which $1 to $9 stand for its groups, and returns its handler for
// further settings. Errors are those of [NewMatchHandler].
func (m *Mux) ProxyPassMatch(pattern, target string) (*Handler, error) {
	h, err := NewMatchHandler(pattern, target)
	if err != nil {
		return nil, err
	}
	return m.pass(Rule{Match: h.rule.match.re}, h)
}

func (m *Mux) pass(ru Rule, h *Handler) (*Handler, error) {
	h.Mapping, h.AllowEncodedSlashes = m.Mapping, m.AllowEncodedSlashes
	ru.Handler = h
	if err := m.append(ru); err != nil {
		return nil, err
	}
	return h, nil
}

// Add adds a rule behind the others. It panics when the rule could not be meant:
// its path, hosts, methods or conditions are none. [Mux.Replace] is for rules that
// are not written in a program.
func (m *Mux) Add(ru Rule) {
	if err := m.append(ru); err != nil {
		panic(err.Error())
	}
}

// Replace takes rules in place of all that there are, for a configuration that
// was read again or members that were discovered. Requests under way go on by
// the old ones. A rule that could not be meant is an error, and nothing is
// changed.
//
// Replace closes nothing. Who takes a [Handler] out of all lists calls its
// CloseIdleConnections afterwards.
func (m *Mux) Replace(rules ...Rule) error {
	list := &ruleList{}
	for _, ru := range rules {
		if err := list.add(ru); err != nil {
			return err
		}
	}
	list.prepare()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list.Store(list)
	return nil
}

func (m *Mux) append(ru Rule) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := &ruleList{}
	if old := m.list.Load(); old != nil {
		next.rules, next.byMethod = old.rules, old.byMethod // what is appended lies behind what old sees
	}
	if err := next.add(ru); err != nil {
		return err
	}
	m.list.Store(next)
	return nil
}

func needHandler(h http.Handler) http.Handler {
	if h == nil {
		panic("proxy: nil handler")
	}
	return h
}

func needExpression(re *regexp.Regexp) *regexp.Regexp {
	if re == nil {
		panic("proxy: nil expression")
	}
	return re
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
	list := m.list.Load()
	if list == nil || len(list.rules) == 0 {
		return nil, nil
	}
	if c.slashes && !m.AllowEncodedSlashes {
		return nil, errEncodedSlash()
	}
	q := ruleRequest{Request: r, path: c, host: hostForRules(r.Host)}
	var ru *muxRule
	if m.Logger != nil && m.Logger.Enabled(r.Context(), exchange.LevelTrace1) {
		ru = m.pickAloud(list, &q)
	} else {
		ru = list.find(&q)
	}
	if ru != nil {
		return ru.Handler, nil
	}
	if m.Next == nil && list.byMethod {
		q.allowed = make(map[string]bool)
		if list.find(&q); len(q.allowed) > 0 {
			return nil, &exchange.Error{
				Op: exchange.OpRequest, Status: http.StatusMethodNotAllowed, Err: errors.New("no rule takes the method"),
				Header: http.Header{"Allow": {strings.Join(slices.Sorted(maps.Keys(q.allowed)), ", ")}},
			}
		}
	}
	return nil, nil
}

// pickAloud tries one rule after the other and logs it.
func (m *Mux) pickAloud(list *ruleList, q *ruleRequest) *muxRule {
	for _, ru := range list.rules {
		fits := ru.takes(q.Method) && ru.fits(q)
		m.Logger.Log(q.Context(), exchange.LevelTrace2, "proxy: rule tried", "rule", ru.text, "path", q.URL.Path, "fits", fits)
		if fits {
			m.Logger.Log(q.Context(), exchange.LevelTrace1, "proxy: rule fits", "rule", ru.text, "path", q.URL.Path, "exception", ru.Handler == nil)
			return ru
		}
	}
	return nil
}

// hasNoPath reports whether a URL is the authority that CONNECT names.
func hasNoPath(u *url.URL) bool { return u.Path == "" && u.RawPath == "" }
