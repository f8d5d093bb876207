package balancer

import (
	"errors"
	"net/http"
	"strings"
	"time"
)

// Sticky says how requests of a session find the member that began it. A
// session's value ends in the route of that member, behind a separator, as in
// JSESSIONID=8E1F.node1.
type Sticky struct {
	// Cookie and Param are the names under which the value is looked for: as
	// path parameter ";name=value" and query parameter Param, and then as
	// Cookie. Both empty means no sessions. Apache: stickysession=Cookie|Param.
	Cookie, Param string

	// Separator stands before the route. Empty means "."; "off" means that the
	// whole value is the route. Apache: stickysessionsep.
	Separator string

	// SemicolonDelimiter ends a path parameter at the next semicolon. Apache:
	// scolonpathdelim.
	SemicolonDelimiter bool

	// NoFailover refuses requests of a session whose member is not usable,
	// rather than sending them to another. Apache: nofailover.
	NoFailover bool

	// SetCookie, if not nil, sets a cookie with the route whenever a request's
	// session does not name the member that it was sent to. It makes sessions
	// where the application has none.
	SetCookie *RouteCookie
}

// RouteCookie is the cookie that remembers a route. It is HttpOnly, and Secure
// where the client's connection is. Apache: Header add Set-Cookie
// "ROUTEID=.%{BALANCER_WORKER_ROUTE}e; path=/" env=BALANCER_ROUTE_CHANGED.
type RouteCookie struct {
	Name     string        // empty means Sticky.Cookie, or "ROUTEID"
	Path     string        // empty means "/"
	Domain   string        // empty means the host alone
	MaxAge   time.Duration // rounded up to seconds; zero means until the browser is closed; must not be negative
	SameSite http.SameSite // zero means Lax
	Secure   bool          // also where TLS ends in front of this proxy
}

// ParseSticky reads the names in Apache's form "name" or "COOKIE|param".
func ParseSticky(s string) Sticky {
	cookie, param, ok := strings.Cut(s, "|")
	if !ok {
		param = cookie
	}
	return Sticky{Cookie: cookie, Param: param}
}

// String returns the names in Apache's form.
func (s *Sticky) String() string {
	if s.Cookie == s.Param || s.Param == "" {
		return s.Cookie
	}
	return s.Cookie + "|" + s.Param
}

func (s *Sticky) validate() error {
	for _, name := range []string{s.Cookie, s.Param} {
		if !validRoute(name) {
			return errors.New("balancer: Sticky: a name holds a sign that it must not")
		}
	}
	if len(s.Separator) > 1 && !strings.EqualFold(s.Separator, "off") {
		return errors.New("balancer: Sticky: Separator is longer than a byte")
	}
	if c := s.SetCookie; c != nil {
		if c.MaxAge < 0 {
			return errors.New("balancer: Sticky: SetCookie has a negative MaxAge")
		}
		// net/http leaves out what it does not like, which would go unseen.
		if s.cookie("x", false).Valid() != nil {
			return errors.New("balancer: Sticky: SetCookie is no valid cookie")
		}
	}
	return nil
}

func (s *Sticky) setName() string {
	switch {
	case s.SetCookie.Name != "":
		return s.SetCookie.Name
	case s.Cookie != "":
		return s.Cookie
	}
	return "ROUTEID"
}

// cookie makes the cookie for a route.
func (s *Sticky) cookie(route string, secure bool) *http.Cookie {
	c := s.SetCookie
	value := route
	if sep := s.separator(); sep != 0 {
		value = string(sep) + route
	}
	k := &http.Cookie{
		Name: s.setName(), Value: value, Path: c.Path, Domain: c.Domain,
		MaxAge: int(c.MaxAge/time.Second + min(c.MaxAge%time.Second, 1)), HttpOnly: true, Secure: secure || c.Secure, SameSite: c.SameSite,
	}
	if k.Path == "" {
		k.Path = "/"
	}
	if k.SameSite == 0 {
		k.SameSite = http.SameSiteLaxMode
	}
	return k
}

// separator returns the byte before the route, or 0.
func (s *Sticky) separator() byte {
	switch {
	case s.Separator == "":
		return '.'
	case len(s.Separator) > 1:
		return 0
	}
	return s.Separator[0]
}

// session is what a request says about its session. The route is one of the
// client's choosing until it was found among those of the members.
type session struct {
	name  string // where it was found
	route string // empty without a session
	known bool   // a member has the route
}

// session looks for the session of a request: in the path, the query and the
// cookies. Of several values the first with a route of a member counts, else
// the first with any route.
func (v *view) session(r *http.Request) session {
	s := &v.config.Sticky
	if s.Cookie == "" && s.Param == "" && s.SetCookie == nil {
		return session{}
	}
	var found session
	consider := func(name, value string) (done bool) {
		route := value
		if sep := s.separator(); sep != 0 {
			i := strings.LastIndexByte(value, sep)
			if i < 0 {
				return false
			}
			route = value[i+1:]
		}
		if route == "" {
			return false
		}
		if _, known := v.routes[route]; known {
			found = session{name, route, true}
			return true
		}
		if found.route == "" {
			found = session{name, route, false}
		}
		return false
	}
	if s.Param != "" {
		if value, ok := pathParam(r.URL.EscapedPath(), s.Param, s.SemicolonDelimiter); ok && consider(s.Param, value) {
			return found
		}
		if value, ok := queryParam(r.URL.RawQuery, s.Param); ok && consider(s.Param, value) {
			return found
		}
	}
	names := [2]string{s.Cookie}
	if s.SetCookie != nil && s.setName() != s.Cookie {
		names[1] = s.setName()
	}
	for _, name := range names {
		if name != "" && !found.known {
			eachCookie(r.Header, name, func(value string) bool { return !consider(name, value) })
		}
	}
	return found
}

// pathParam returns the value of ";name=value" in a path.
func pathParam(path, name string, semicolon bool) (string, bool) {
	for rest := path; ; {
		i := strings.IndexByte(rest, ';')
		if i < 0 {
			return "", false
		}
		rest = rest[i+1:]
		if len(rest) <= len(name) || rest[:len(name)] != name || rest[len(name)] != '=' {
			continue
		}
		value := rest[len(name)+1:]
		end := "/"
		if semicolon {
			end = "/;"
		}
		if j := strings.IndexAny(value, end); j >= 0 {
			value = value[:j]
		}
		return value, true
	}
}

// queryParam returns the value of a parameter of a query as it was sent.
func queryParam(query, name string) (string, bool) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if n, value, ok := strings.Cut(pair, "="); ok && n == name {
			return value, true
		}
	}
	return "", false
}

// eachCookie calls f with each value of a cookie until it returns false. Values
// are as they were sent, without their quotes.
func eachCookie(h http.Header, name string, f func(value string) bool) {
	for _, line := range h["Cookie"] {
		for line != "" {
			var part string
			part, line, _ = strings.Cut(line, ";")
			n, v, ok := strings.Cut(strings.Trim(part, " \t"), "=")
			if !ok || n != name {
				continue
			}
			if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
				v = v[1 : len(v)-1]
			}
			if !f(v) {
				return
			}
		}
	}
}
