package proxy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"

	"github.com/modproxy/modproxy/proxy/backend"
)

// matcher is the expression and the substitution of a ProxyPassMatch.
type matcher struct {
	re     *regexp.Regexp
	pieces []piece
}

// piece is a part of the path for the backend: a literal, escaped, or what a
// group of the expression captured.
type piece struct {
	literal string
	group   int // asLiteral, wholePath, or the number of a group
}

const (
	asLiteral = -1
	wholePath = -2
)

// newMatchRule makes a rule for the paths that match re anywhere in their
// decoded form; anchors are the caller's. In the path of target $0 to $9 stand
// for what was captured, and a backslash takes the next character's meaning
// away. The request's own escapes are substituted, not what they stand for, so
// a capture never ends the path or the request line. A target without any $n
// has the whole path put behind it, and a "?" in it is part of the path. After
// host and port $n may follow at once; a request for which the path then does
// not begin with a slash is refused. Apache: ProxyPassMatch.
func newMatchRule(re *regexp.Regexp, target string, m Mapping) (*rule, error) {
	if re == nil {
		return nil, errors.New("proxy: expression is nil")
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok {
		return nil, fmt.Errorf("proxy: target %q: want scheme://host/path", backend.RedactURL(target))
	}
	end := strings.IndexAny(rest, "/?#$")
	if end < 0 {
		end = len(rest)
	}
	base, err := backend.ParseURL(scheme + "://" + rest[:end])
	if err != nil {
		return nil, fmt.Errorf("proxy: target: %w", err)
	}
	if base.Hostname() == "" || strings.HasSuffix(base.Host, ":") || base.Opaque != "" {
		return nil, fmt.Errorf("proxy: target %q: scheme, host and port must be written out, a capture cannot stand for them", backend.RedactURL(target))
	}
	pieces, err := parseTemplate(rest[end:], re.NumSubexp())
	if err != nil {
		return nil, fmt.Errorf("proxy: target %q: %w", backend.RedactURL(target), err)
	}
	return &rule{scheme: base.Scheme, host: base.Host, mode: m, match: &matcher{re: re, pieces: pieces}}, nil
}

// parseTemplate reads the part of a target that follows host and port.
func parseTemplate(s string, groups int) ([]piece, error) {
	var pieces []piece
	var literal []byte
	flush := func() {
		if len(literal) > 0 {
			pieces = append(pieces, piece{string(appendEscaped(nil, string(literal), false)), asLiteral})
			literal = literal[:0]
		}
	}
	substitutes := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '$' && i+1 < len(s) && '0' <= s[i+1] && s[i+1] <= '9':
			n := int(s[i+1] - '0')
			if n > groups {
				return nil, fmt.Errorf("$%d, but the expression has %d groups", n, groups)
			}
			flush()
			pieces = append(pieces, piece{group: n})
			substitutes = true
			i++
		case c == '\\' && i+1 < len(s):
			i++
			literal = append(literal, s[i])
		default:
			literal = append(literal, c)
		}
	}
	flush()
	if err := checkPieces(pieces); err != nil {
		return nil, err
	}
	if !substitutes {
		if len(pieces) == 1 { // the slash that ends it is the one that begins the path
			pieces[0].literal = strings.TrimSuffix(pieces[0].literal, "/")
		}
		pieces = append(pieces, piece{group: wholePath})
	}
	return pieces, nil
}

// checkPieces refuses literals with which no request, or the wrong host, could
// be reached.
func checkPieces(pieces []piece) error {
	first := true
	for _, p := range pieces {
		if p.group != asLiteral {
			continue
		}
		if first && p.literal[0] != '/' {
			return errors.New("host and port must be followed by a slash, or by $n and a slash")
		}
		first = false
		if p.literal[0] == '/' {
			if t, err := survey(p.literal, false); err != nil {
				return fmt.Errorf("path %w", err)
			} else if t.dots && len(pieces) == 1 {
				return errors.New("path holds a dot segment")
			}
		}
	}
	return nil
}

// rewrite matches the decoded path and puts slices of the escaped one into the
// pieces.
func (m *matcher) rewrite(c canonical) (string, bool, error) {
	text, index := c.text()
	loc := m.re.FindStringSubmatchIndex(text)
	if loc == nil {
		return "", false, nil
	}
	wire := make([]byte, 0, len(c.wire)+32)
	for _, p := range m.pieces {
		switch p.group {
		case asLiteral:
			wire = append(wire, p.literal...)
		case wholePath:
			wire = append(wire, c.wire...)
		default:
			from, to := loc[2*p.group], loc[2*p.group+1]
			if from < 0 {
				continue // the group took no part in the match
			}
			if index == nil {
				wire = append(wire, text[from:to]...)
				continue
			}
			// An expression can cut the "%2F" of an escaped slash in two.
			wire = appendEscaped(wire, c.wire[index[from]:index[to]], false)
		}
	}
	if len(wire) == 0 {
		return "/", true, nil
	}
	path := string(wire)
	if t, err := survey(path, c.servlet); err != nil {
		return "", false, exchange.BadRequest("path after substitution: %w", err)
	} else if t.dots {
		// "^/img/.(.*)" makes "../x" of "/img/a../x".
		return "", false, exchange.BadRequest("path after substitution: holds a dot segment")
	}
	return path, true, nil
}
