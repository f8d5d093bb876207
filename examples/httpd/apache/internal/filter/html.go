package filter

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
)

// maxToken is how long a tag, or what stands between two, may be and still be
// looked into.
const maxToken = 1 << 20

// URLMap says what takes the place of what in the links of a page. Apache:
// ProxyHTMLURLMap.
type URLMap struct {
	find                 string
	pattern              *pattern.Pattern // or an expression
	by                   string
	start, end           bool // fits at the beginning, or at the end, alone
	last                 bool // no later map is looked at
	noLinks              bool
	noEvents, noContents bool
}

// ParseURLMap reads the words behind ProxyHTMLURLMap but the condition: from, to and
// flags.
func ParseURLMap(from, to, flags string) (*URLMap, error) {
	m := &URLMap{find: from, by: to}
	fold, expression := "", false
	for _, c := range flags {
		switch c {
		case 'h':
			m.noLinks = true
		case 'e':
			m.noEvents = true
		case 'c':
			m.noContents = true
		case 'R':
			expression = true
		case 'i':
			fold = "(?i)"
		case 'x', 'n', 'N', 'l', 'v':
		case 'L':
			m.last = true
		case '^':
			m.start = true
		case '$':
			m.end = true
		case 'V':
			return nil, fmt.Errorf("flag V is not supported: variables are replaced when the file is read")
		default:
			return nil, fmt.Errorf("flag %q is not known", c)
		}
	}
	if from == "" {
		return nil, fmt.Errorf("nothing is to be found")
	}
	var err error
	switch {
	case expression:
		m.pattern, err = pattern.Compile(fold + from)
	case fold != "":
		m.pattern, err = pattern.Compile(fold + regexp.QuoteMeta(from))
		m.by = strings.NewReplacer(`\`, `\\`, `$`, `\$`).Replace(to)
	}
	return m, err
}

// link changes the value of a link; fits says whether the map has decided.
func (m *URLMap) link(value string) (out string, fits bool) {
	if m.pattern == nil {
		if !strings.HasPrefix(value, m.find) || m.end && value != m.find {
			return value, false
		}
		return m.by + value[len(m.find):], true
	}
	at := m.pattern.FindStringSubmatchIndex(value)
	if at == nil || m.start && at[0] > 0 || m.end && at[1] < len(value) {
		return value, false
	}
	return value[:at[0]] + string(expand(nil, m.by, value, at)) + value[at[1]:], true
}

// text changes all that fits in a text.
func (m *URLMap) text(value string) (string, bool) {
	if m.start || m.end {
		return m.link(value)
	}
	if m.pattern == nil {
		if !strings.Contains(value, m.find) {
			return value, false
		}
		return strings.ReplaceAll(value, m.find, m.by), true
	}
	one := Substitution{pattern: m.pattern, by: m.by}
	out, err := one.apply([]byte(value), 2*maxToken)
	if err != nil {
		return value, false
	}
	return string(out), string(out) != value
}

// Page says how the links of HTML are changed.
type Page struct {
	// Maps are tried in order: of a link, the first that fits decides.
	Maps []*URLMap

	// Links are the attributes that are links, by element. Apache:
	// ProxyHTMLLinks.
	Links map[string][]string

	// Events are the attributes that are scripts, and Extended also looks into
	// them, and into scripts and styles. Apache: ProxyHTMLEvents,
	// ProxyHTMLExtended.
	Events   []string
	Extended bool

	// Strip leaves comments out. Apache: ProxyHTMLStripComments.
	Strip bool
}

// HTML changes the links of a page. Unlike mod_proxy_html it writes all else as it
// came: no element is added, no quote and no character changed.
func HTML(next Writer, p *Page) Filter {
	return pull(next, func(in io.Reader) error { return p.change(in, next) })
}

func (p *Page) change(in io.Reader, out io.Writer) error {
	z := html.NewTokenizer(in)
	z.SetMaxBuf(maxToken)
	inScript := false
	for {
		kind := z.Next()
		raw := z.Raw()
		switch kind {
		case html.ErrorToken:
			if z.Err() == html.ErrBufferExceeded { // too long to be looked into: the rest is passed on
				if _, err := out.Write(bytes.Clone(raw)); err != nil {
					return err
				}
				if _, err := out.Write(z.Buffered()); err != nil {
					return err
				}
				_, err := io.Copy(struct{ io.Writer }{out}, in)
				return err
			}
			if len(raw) > 0 {
				if _, err := out.Write(raw); err != nil {
					return err
				}
			}
			if z.Err() == io.EOF {
				return nil
			}
			return z.Err()
		case html.StartTagToken, html.SelfClosingTagToken:
			raw = bytes.Clone(raw) // what reads attributes changes it
			changed, name := p.tag(z, kind == html.SelfClosingTagToken)
			inScript = kind == html.StartTagToken && (name == "script" || name == "style")
			if changed != nil {
				raw = changed
			}
		case html.EndTagToken:
			inScript = false
		case html.TextToken:
			if inScript && p.Extended {
				raw = []byte(p.texts(string(raw), func(m *URLMap) bool { return !m.noContents }))
			}
		case html.CommentToken:
			if p.Strip {
				continue
			}
		}
		if _, err := out.Write(raw); err != nil {
			return err
		}
	}
}

// texts changes a script or a style by all maps that are for it.
func (p *Page) texts(text string, isFor func(*URLMap) bool) string {
	for _, m := range p.Maps {
		if !isFor(m) {
			continue
		}
		out, fits := m.text(text)
		if text = out; fits && m.last {
			break
		}
	}
	return text
}

// tag returns a tag with its links changed, or nil if none is, and its name.
func (p *Page) tag(z *html.Tokenizer, closed bool) (out []byte, name string) {
	rawName, more := z.TagName()
	name = string(rawName)
	links := p.Links[name]
	if len(links) == 0 && (!p.Extended || len(p.Events) == 0) {
		return nil, name
	}
	changed := false
	b := bytes.NewBufferString("<" + name)
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		k, old := string(key), string(value)
		v := old
		switch {
		case slices.Contains(links, k):
			for _, m := range p.Maps {
				if m.noLinks {
					continue
				}
				var fits bool
				if v, fits = m.link(v); fits {
					break
				}
			}
		case p.Extended && slices.Contains(p.Events, k):
			v = p.texts(v, func(m *URLMap) bool { return !m.noEvents })
		}
		changed = changed || v != old
		fmt.Fprintf(b, ` %s="%s"`, k, html.EscapeString(v))
	}
	if !changed {
		return nil, name
	}
	if closed {
		b.WriteString(" /")
	}
	b.WriteByte('>')
	return b.Bytes(), name
}
