package rewrite

import (
	"net/http"
	"slices"
	"strings"
)

const (
	maxLength    = 2 * 8190 // of a path, as in httpd without LimitRequestLine
	maxLookAhead = 3        // how deep %{LA-U:…} may ask
)

// Server is what the rules ask for. Names are in httpd's spelling.
type Server interface {
	// Variable returns %{name} for all names that depend neither on the rules nor
	// on the request's fields; "" for an unknown one.
	Variable(name string) string
	// Header returns a field of the request, and whether it is there.
	Header(name string) (string, bool)
	Env(name string) string
	SetEnv(name, value string)
	UnsetEnv(name string)
	// LookAhead returns a variable as it would be for a request of that path, or
	// file.
	LookAhead(path string, file bool, name string) string
	// Reachable says whether a request of that path, or file, would be answered
	// without an error.
	Reachable(path string, file bool) bool
	// Self returns how this server is called in URLs: "http://host:port".
	Self() string
	// IsSelf says whether a host and port, which may be empty, are this server.
	IsSelf(host, port string) bool
}

// Set is a list of rules at work.
type Set struct {
	Rules []*Rule
	Maps  map[string]*Map
	Dir   string // of a directory, with a slash at its end; "" for a server
	Base  string // RewriteBase
}

// State is a request on its way through a Set.
type State struct {
	Server
	Set      *Set
	File     string // r->filename: the path of the URL, or in a directory that of the file
	PathInfo string
	Query    string
	Depth    int // of %{LA-U:…} within each other

	ruleGroups, condGroups []string
	vary                   []string
	noVary                 bool
	tooLong                bool
	ownQuestion            bool // what is filled in has a question mark where the rule has none
	result                 Result
}

// Kind is what came of a Set.
type Kind uint8

// The kinds of a Result.
const (
	Unchanged   Kind = iota
	Path             // go on with another path: Target
	PassThrough      // the same, and what maps paths comes next
	Redirect         // Status and Target, a URL that is escaped
	Proxy            // Target is a URL, not escaped, without its query
	Status           // Status is the answer
)

// Result is what a Set says of a request.
type Result struct {
	Kind     Kind
	Target   string
	Query    string
	NoEscape bool // of Proxy: Target is sent as it is
	Stat     bool // of Path: the file system may be asked whether it is a file there
	Status   int
	End      bool     // no rules any more for this request
	Vary     []string // fields of the request that have mattered
	Cookies  []string // Set-Cookie
	Type     string   // of the file
	Handler  string
	Rule     *Rule // that led to Proxy
}

// Apply takes a request through the rules.
func (set *Set) Apply(s *State) Result {
	s.Set, s.result = set, Result{}
	original, query := s.File, s.Query
	s.loop()
	r := &s.result
	r.Vary, r.Query = append(r.Vary, s.vary...), s.Query
	if slices.ContainsFunc(r.Cookies, isNoField) { // httpd answers with no such field
		return Result{Kind: Status, Status: http.StatusInternalServerError}
	}
	switch r.Kind {
	case Path, PassThrough:
		r.Target = s.File
		if set.Dir != "" {
			s.leaveDirectory(original)
		} else if !strings.HasPrefix(r.Target, "/") {
			r.Target = "/" + r.Target
		}
	case Redirect:
		if s.location(query); r.NoEscape && hasControls(s.Query) {
			r.Kind, r.Status = Status, http.StatusForbidden
		}
		return *r
	case Proxy:
		if r.Target = s.File; r.NoEscape && hasControls(s.File) {
			r.Kind, r.Status = Status, http.StatusForbidden
		}
	}
	if r.Kind != Status && r.Kind != Unchanged && hasControls(s.Query) {
		r.Kind, r.Status = Status, http.StatusForbidden
	}
	return *r
}

// hasControls reports whether a URL, or its query, holds what only an escape may say.
func hasControls(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// isNoField reports whether a text holds what no field may.
func isNoField(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}

// loop goes from rule to rule.
func (s *State) loop() {
	rules := s.Set.Rules
	rounds := 0
	for i := 0; i < len(rules); i++ {
		r := rules[i]
		if s.Depth > 0 && r.flags&(flagNoSubrequest|flagRedirect) != 0 {
			continue
		}
		if !s.try(r) {
			for i < len(rules)-1 && rules[i].flags&flagChain != 0 {
				i++
			}
			continue
		}
		if s.tooLong || len(s.File) > maxLength {
			s.result.Kind, s.result.Status = Status, http.StatusInternalServerError
			return
		}
		switch {
		case s.result.Kind == Status:
			return
		case r.flags&flagPassThrough != 0:
			s.result.Kind = PassThrough
			return
		case r.flags&flagEnd != 0:
			s.result.End = true
			if s.result.Kind == Unchanged {
				s.result.Kind = Path
			}
			return
		case r.flags&(flagProxy|flagLast) != 0, s.result.Kind == Redirect && r.flags&flagNext == 0 && r.flags&flagLast != 0:
			return
		case r.flags&flagNext != 0:
			if rounds++; rounds >= r.rounds {
				s.result.Kind, s.result.Status = Status, http.StatusInternalServerError
				return
			}
			i = -1
		default:
			i += r.skip
		}
	}
}

// try applies a rule, and says whether it fits.
func (s *State) try(r *Rule) bool {
	dir := s.Set.Dir
	at := s.File
	proxied := s.result.Kind == Proxy
	if dir != "" {
		if s.PathInfo != "" && !proxied {
			at += s.PathInfo
		}
		if !proxied {
			at = strings.TrimPrefix(at, dir)
		}
	}
	groups := r.pattern.FindStringSubmatch(at)
	if (groups != nil) == r.not {
		return false
	}
	s.ruleGroups, s.condGroups, s.vary = groups, nil, s.vary[:0]
	if !r.hold(s) {
		s.vary = s.vary[:0]
		return false
	}
	s.result.Vary = append(s.result.Vary, s.vary...)
	s.vary = s.vary[:0]
	var to string
	unsafe := false
	if !r.keep {
		s.ownQuestion = false
		to = s.expand(r.output, r)
		unsafe = s.ownQuestion && r.flags&flagAllow3F == 0
	}
	s.effects(r)
	s.vary = s.vary[:0] // fields in what conditions lead to have not mattered
	if r.flags&flagStatus != 0 {
		s.result.Kind, s.result.Status = Status, r.status
		return true
	}
	if r.keep {
		return true
	}
	s.File, s.result.Rule = to, r
	if r.flags&flagDiscardPath != 0 && dir != "" {
		s.PathInfo = ""
	}
	if unsafe {
		s.result.Kind, s.result.Status = Status, http.StatusForbidden
		return true
	}
	s.splitQuery(r)
	n, _ := absolute(s.File)
	if dir != "" && !proxied && !strings.HasPrefix(s.File, "/") && n == 0 {
		s.File = dir + s.File
	}
	s.result.NoEscape = r.flags&flagNoEscape != 0
	switch {
	case r.flags&flagProxy != 0:
		s.qualify()
		s.result.Kind = Proxy
		return true
	case r.flags&flagRedirect != 0:
		s.qualify()
		s.result.Kind, s.result.Status = Redirect, r.status
		return true
	}
	s.reduce()
	if n, _ := absolute(s.File); n > 0 {
		s.result.Kind, s.result.Status = Redirect, http.StatusFound
		return true
	}
	s.result.Kind, s.result.Stat = Path, !r.dynamic || r.flags&flagPrefixStat != 0
	return true
}

// effects does what a rule does besides.
func (s *State) effects(r *Rule) {
	for _, a := range r.env {
		if name := s.expand(a.name, nil); a.unset {
			s.Server.UnsetEnv(name)
		} else {
			s.Server.SetEnv(name, s.expand(a.value, nil))
		}
	}
	for _, c := range r.cookies {
		s.addCookie(s.expand(c, nil))
	}
	if len(r.mime) > 0 {
		s.result.Type = strings.ToLower(s.expand(r.mime, nil))
	}
	if r.handler != "" {
		s.result.Handler = r.handler
	}
}

// splitQuery takes the query off what a rule has made.
func (s *State) splitQuery(r *Rule) {
	if _, query := absolute(s.File); !query {
		return
	}
	if r.flags&flagDiscardQuery != 0 {
		s.Query = ""
	}
	at := strings.IndexByte(s.File, '?')
	if r.flags&flagLastQuestion != 0 {
		at = strings.LastIndexByte(s.File, '?')
	}
	if at < 0 {
		return
	}
	query := s.File[at+1:]
	s.File = s.File[:at]
	switch {
	case r.flags&flagAppendQuery == 0:
		s.Query = query
	case query != "" && s.Query != "":
		s.Query = query + "&" + s.Query
	case query != "":
		s.Query = query
	}
	s.Query = strings.TrimSuffix(s.Query, "&")
}

// qualify makes an absolute URL of a path.
func (s *State) qualify() {
	if n, _ := absolute(s.File); n > 0 {
		return
	}
	if !strings.HasPrefix(s.File, "/") {
		s.File = "/" + s.File
	}
	s.File = s.Server.Self() + s.File
}

// reduce makes a path of an absolute URL of this server.
func (s *State) reduce() {
	n, _ := absolute(s.File)
	if n == 0 {
		return
	}
	scheme, _, _ := strings.Cut(s.Server.Self(), "://")
	if !strings.EqualFold(s.File[:n], scheme+"://") {
		return
	}
	host, path, _ := strings.Cut(s.File[n:], "/")
	host, port, _ := strings.Cut(host, ":")
	if s.Server.IsSelf(host, port) {
		s.File = "/" + path
	}
}

// location makes the Location of a redirect.
func (s *State) location(query string) {
	r := &s.result
	if s.Set.Dir != "" && s.Set.Base != "" {
		n, _ := absolute(s.File)
		if slash := strings.IndexByte(s.File[n:], '/'); slash >= 0 && n+slash+1 < len(s.File) {
			// In httpd, too, the slash before the path is no part of what is compared.
			path := replacePrefix(s.File[n+slash+1:], strings.TrimPrefix(s.Set.Dir, "/"), strings.TrimPrefix(s.Set.Base, "/"))
			s.File = s.File[:n+slash+1] + path
		}
	}
	r.Target = s.File
	if !r.NoEscape {
		r.Target = escapeURL(r.Target)
	}
	if s.Query != "" {
		if r.NoEscape || s.Query == query {
			r.Target += "?" + s.Query
		} else {
			r.Target += "?" + EscapePath(s.Query)
		}
	}
}

// replacePrefix puts one directory in place of another.
func replacePrefix(path, dir, base string) string {
	rest, ok := strings.CutPrefix(path, dir)
	if !ok {
		return path
	}
	if base != "" && !strings.HasSuffix(base, "/") {
		base += "/"
	}
	return base + rest
}

// leaveDirectory makes a path of the URL out of that of a file.
func (s *State) leaveDirectory(original string) {
	r := &s.result
	if r.Target == original {
		r.Kind = Unchanged
		return
	}
	r.Kind = Path
	if !strings.HasPrefix(r.Target, "/") {
		r.Kind, r.Status = Status, http.StatusBadRequest
		return
	}
	if s.Set.Base != "" {
		r.Target = replacePrefix(r.Target, s.Set.Dir, s.Set.Base)
		return
	}
	root := strings.TrimSuffix(s.Server.Variable("DOCUMENT_ROOT"), "/")
	if rest, ok := strings.CutPrefix(r.Target, root); ok && root != "" && strings.HasPrefix(rest, "/") {
		r.Target = rest
		return
	}
	prefix, context := s.Server.Variable("CONTEXT_PREFIX"), strings.TrimSuffix(s.Server.Variable("CONTEXT_DOCUMENT_ROOT"), "/")
	if rest, ok := strings.CutPrefix(r.Target, context); ok && context != "" && prefix != "" {
		r.Target = prefix + rest
	}
}
