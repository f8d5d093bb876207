package filter

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
)

// DefaultMaxLine is SubstituteMaxLineLength.
const DefaultMaxLine = 1 << 20

// ErrLineTooLong ends a body of which a line is longer than is kept.
var ErrLineTooLong = errors.New("filter: line is longer than SubstituteMaxLineLength")

// Substitution replaces something in each line. Apache: Substitute.
type Substitution struct {
	find    []byte           // of a text
	pattern *pattern.Pattern // or an expression
	by      string
}

// ParseSubstitution reads s/pattern/substitution/flags, of which the slashes may be
// any other sign, and the flags are n for a text, i for any case, f and q, which
// change nothing here. In the substitution of an expression $0 to $9 stand for
// groups.
func ParseSubstitution(text string) (*Substitution, error) {
	if len(text) < 2 || text[0] != 's' && text[0] != 'S' {
		return nil, errors.New("want s/pattern/substitution/flags")
	}
	parts := strings.Split(text[2:], text[1:2])
	if len(parts) < 2 {
		return nil, fmt.Errorf("want s%[1]cpattern%[1]csubstitution%[1]cflags", text[1])
	}
	s := &Substitution{by: parts[1]}
	literal, fold := false, false
	for _, c := range strings.Join(parts[2:], text[1:2]) {
		switch c {
		case 'n', 'N':
			literal = true
		case 'i', 'I':
			fold = true
		case 'f', 'F', 'q', 'Q':
		default:
			return nil, fmt.Errorf("flag %q is not known: n, i, f and q are", c)
		}
	}
	if parts[0] == "" {
		return nil, errors.New("nothing is to be found")
	}
	find := parts[0]
	switch {
	case literal && !fold:
		s.find = []byte(find)
		return s, nil
	case literal:
		find = regexp.QuoteMeta(find)
		s.by = strings.NewReplacer(`\`, `\\`, `$`, `\$`).Replace(s.by)
	}
	if fold {
		find = "(?i)" + find
	}
	var err error
	s.pattern, err = pattern.Compile(find)
	return s, err
}

// apply returns a line with everything replaced; it may be line itself. A line that
// grows above limit is an error.
func (s *Substitution) apply(line []byte, limit int) ([]byte, error) {
	if s.pattern == nil {
		n := bytes.Count(line, s.find)
		switch {
		case n == 0:
			return line, nil
		case len(line)+n*(len(s.by)-len(s.find)) > limit:
			return nil, ErrLineTooLong
		}
		return bytes.ReplaceAll(line, s.find, []byte(s.by)), nil
	}
	var out []byte
	rest := string(line)
	for len(rest) > 0 {
		at := s.pattern.FindStringSubmatchIndex(rest)
		if at == nil {
			break
		}
		out = append(out, rest[:at[0]]...)
		out = expand(out, s.by, rest, at)
		if at[1] == at[0] { // nothing was found, before the next sign
			if at[1] == len(rest) {
				rest = ""
				break
			}
			out = append(out, rest[at[1]])
			at[1]++
		}
		rest = rest[at[1]:]
		if len(out) > limit {
			return nil, ErrLineTooLong
		}
	}
	if out == nil && len(rest) == len(line) {
		return line, nil
	}
	return append(out, rest...), nil
}

// expand appends by, with groups in place of $0 to $9. A backslash takes the meaning
// away.
func expand(out []byte, by string, in string, at []int) []byte {
	for i := 0; i < len(by); i++ {
		switch c := by[i]; {
		case c == '\\' && i+1 < len(by):
			i++
			out = append(out, by[i])
		case c == '$' && i+1 < len(by) && '0' <= by[i+1] && by[i+1] <= '9':
			i++
			if g := 2 * int(by[i]-'0'); g+1 < len(at) && at[g] >= 0 {
				out = append(out, in[at[g]:at[g+1]]...)
			}
		default:
			out = append(out, c)
		}
	}
	return out
}

// Substitute replaces in a body, line by line, by each of list in turn. A line longer
// than limit, before or after, ends the body with [ErrLineTooLong].
func Substitute(next Writer, list []*Substitution, limit int) Filter {
	return &substituting{next: next, list: list, limit: limit}
}

type substituting struct {
	next  Writer
	list  []*Substitution
	limit int
	begun []byte // a line without its end
	err   error
}

func (s *substituting) Write(b []byte) (int, error) {
	n := len(b)
	for s.err == nil {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			break
		}
		line := b[:end+1]
		if len(s.begun) > 0 {
			line = append(s.begun, line...)
			s.begun = s.begun[:0]
		}
		s.line(line)
		b = b[end+1:]
	}
	if s.err == nil && len(s.begun)+len(b) > s.limit {
		s.err = ErrLineTooLong
	}
	if s.err != nil {
		return 0, s.err
	}
	s.begun = append(s.begun, b...)
	return n, nil
}

func (s *substituting) line(line []byte) {
	if len(line) > s.limit {
		s.err = ErrLineTooLong
	}
	for _, one := range s.list {
		if s.err == nil {
			line, s.err = one.apply(line, s.limit)
		}
	}
	if s.err == nil {
		_, s.err = s.next.Write(line)
	}
}

// Flush hands on whole lines: a part of one may be the beginning of what is replaced.
func (s *substituting) Flush() error {
	if s.err != nil {
		return s.err
	}
	return s.next.Flush()
}

// Close writes the line that has no end.
func (s *substituting) Close() error {
	if len(s.begun) > 0 && s.err == nil {
		s.line(s.begun)
		s.begun = nil
	}
	return s.err
}
