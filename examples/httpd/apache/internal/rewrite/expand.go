package rewrite

import (
	"strings"
)

type tokenKind uint8

const (
	tokenLiteral  tokenKind = iota
	tokenRule               // $N
	tokenCond               // %N
	tokenVariable           // %{NAME}
	tokenMap                // ${name:key|default}
)

// token is a part of a text.
type token struct {
	kind   tokenKind
	n      int
	text   string // the literal, or the name
	key    text   // of a map
	orElse text
}

// text is what is expanded for each request.
type text []token

// maxNesting is how deep maps may stand within each other.
const maxNesting = 20

// parseText reads a text. What is not closed stands for itself.
func parseText(s string) text { return parseNested(s, 0) }

func parseNested(s string, depth int) (t text) {
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			t = append(t, token{text: literal.String()})
			literal.Reset()
		}
	}
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s):
			literal.WriteByte(s[i+1])
			i += 2
			continue
		case (c == '$' || c == '%') && i+1 < len(s) && '0' <= s[i+1] && s[i+1] <= '9':
			flush()
			kind := tokenRule
			if c == '%' {
				kind = tokenCond
			}
			t = append(t, token{kind: kind, n: int(s[i+1] - '0')})
			i += 2
			continue
		case (c == '$' || c == '%') && i+1 < len(s) && s[i+1] == '{' && depth < maxNesting:
			inner, colon, bar, ok := braces(s[i+2:])
			switch {
			case !ok:
				literal.WriteString(s[i:])
				flush()
				return t
			case c == '%':
				flush()
				t = append(t, token{kind: tokenVariable, text: inner})
			case colon > 0:
				flush()
				one := token{kind: tokenMap, text: inner[:colon]}
				if bar > 0 {
					one.orElse = parseNested(inner[bar+1:], depth+1)
				} else {
					bar = len(inner)
				}
				one.key = parseNested(inner[colon+1:bar], depth+1)
				t = append(t, one)
			default:
				literal.WriteString(s[i : i+3+len(inner)])
			}
			i += 3 + len(inner)
			continue
		}
		literal.WriteByte(c)
		i++
	}
	flush()
	return t
}

// braces returns what stands before the closing brace, and in it the first colon
// and the first bar behind that which are not within other braces; 0 for none.
func braces(s string) (inner string, colon, bar int, ok bool) {
	depth := 1
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return s[:i], colon, bar, true
			}
		case depth > 1:
		case c == ':' && colon == 0:
			colon = i
		case c == '|' && colon > 0 && bar == 0:
			bar = i
		}
	}
	return "", 0, 0, false
}

func (t text) maps(names []string) []string {
	for _, one := range t {
		if one.kind == tokenMap {
			names = one.orElse.maps(one.key.maps(append(names, one.text)))
		}
	}
	return names
}

// expand returns the text for a request. With a rule, groups are escaped as its B
// flags say.
func (s *State) expand(t text, r *Rule) string {
	if len(t) == 1 && t[0].kind == tokenLiteral {
		return t[0].text
	}
	var b strings.Builder
	query := false // has begun
	for i := range t {
		one := &t[i]
		value := one.text
		switch one.kind {
		case tokenRule:
			value = r.escaped(group(s.ruleGroups, one.n))
		case tokenCond:
			value = r.escaped(group(s.condGroups, one.n))
		case tokenVariable:
			value = s.Variable(one.text)
		case tokenMap:
			var ok bool
			if value, ok = s.Set.Maps[one.text].Find(s.expand(one.key, nil)); !ok || value == "" {
				value = s.expand(one.orElse, nil)
			}
		}
		b.WriteString(value)
		if r != nil && !query && strings.Contains(value, "?") {
			query = one.kind == tokenLiteral
			s.ownQuestion = s.ownQuestion || !query
		}
		if b.Len() > maxLength {
			s.tooLong = true
			break
		}
	}
	return b.String()
}

func group(groups []string, n int) string {
	if n < len(groups) {
		return groups[n]
	}
	return ""
}

// Variable returns the value of %{name}, without the braces. It answers itself
// what rules may have changed, and asks the Server for all else.
func (s *State) Variable(name string) string {
	kind, rest, ok := strings.Cut(name, ":")
	if ok {
		switch kind {
		case "HTTP":
			return s.header(rest)
		case "ENV":
			return s.Server.Env(rest)
		case "LA-U", "LA-F":
			if s.Depth >= maxLookAhead {
				return ""
			}
			return s.Server.LookAhead(s.File, kind == "LA-F", rest)
		}
		return s.Server.Variable(name)
	}
	switch name {
	case "REQUEST_FILENAME", "SCRIPT_FILENAME":
		return s.File
	case "PATH_INFO":
		return s.PathInfo
	case "QUERY_STRING":
		return s.Query
	case "IS_SUBREQ":
		if s.Depth > 0 {
			return "true"
		}
		return "false"
	case "HTTP_USER_AGENT":
		return s.header("User-Agent")
	case "HTTP_REFERER":
		return s.header("Referer")
	case "HTTP_COOKIE":
		return s.header("Cookie")
	case "HTTP_FORWARDED":
		return s.header("Forwarded")
	case "HTTP_HOST":
		return s.header("Host")
	case "HTTP_PROXY_CONNECTION":
		return s.header("Proxy-Connection")
	case "HTTP_ACCEPT":
		return s.header("Accept")
	}
	return s.Server.Variable(name)
}

// header returns a field of the request; the answer depends on it.
func (s *State) header(name string) string {
	value, ok := s.Server.Header(name)
	if ok && !s.noVary && !strings.EqualFold(name, "Host") { // each host has URLs of its own
		s.vary = append(s.vary, name)
	}
	return value
}
