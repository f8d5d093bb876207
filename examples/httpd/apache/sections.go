package apache

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
)

// sectionDirectives are the sections of httpd's core that say what holds for a
// path or a file. <Proxy> is among the directives of mod_proxy.
func sectionDirectives() []directive {
	return []directive{
		{name: "Location", section: true, in: anyServer, min: 1, max: 2, apply: applyLocation},
		{name: "LocationMatch", section: true, in: anyServer, min: 1, max: 1, apply: applyLocation},
		{name: "Directory", section: true, in: anyServer, min: 1, max: 2, note: "of what no ProxyPass takes", apply: applyDirectory},
		{name: "DirectoryMatch", section: true, in: anyServer, min: 1, max: 1, apply: applyDirectory},
		{name: "Files", section: true, in: anyServer | inDirectory, min: 1, max: 2, apply: applyFiles},
		{name: "FilesMatch", section: true, in: anyServer | inDirectory, min: 1, max: 1, apply: applyFiles},
	}
}

// section returns the scope of a section that stands in another one.
func (b *builder) section(context place, parent *scope, d *conf.Directive) *scope {
	b.sections++
	return &scope{context: context, at: d, parent: parent, number: b.sections}
}

func applyLocation(b *builder, s *scope, d *conf.Directive) error {
	l := b.section(inLocation, s, d)
	var err error
	text := d.Args[0]
	regex := d.Is("LocationMatch")
	tilde := text == "~" && len(d.Args) == 2
	if tilde {
		regex, text = true, d.Args[1]
	}
	switch {
	case len(d.Args) == 2 && !tilde:
		err = d.Errorf("<Location> takes one path, or ~ and a regular expression")
	case regex:
		l.pattern, err = pattern.Compile(text) // as in httpd, a dot fits a newline, too
	case strings.ContainsAny(text, "*?["):
		l.pattern, err = globPattern(text, false)
	case !strings.HasPrefix(text, "/"):
		err = d.Errorf("path %q does not begin with a slash", text)
	}
	l.path, l.regex = text, regex
	if err == nil {
		s.locations = append(s.locations, l)
	}
	return conf.Join(err, b.apply(l, d.Children))
}

// globPattern turns a pattern of fnmatch into an anchored expression; where
// slashes are crossed, "*" and "?" match them.
func globPattern(glob string, crosses bool) (*pattern.Pattern, error) {
	any := "[^/]"
	if crosses {
		any = "."
	}
	var b strings.Builder
	b.WriteString("^")
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			b.WriteString(any + "*")
		case '?':
			b.WriteString(any)
		case '[':
			end := strings.IndexByte(glob[i:], ']')
			if end < 0 {
				return nil, fmt.Errorf("pattern %q has an open bracket", glob)
			}
			set := glob[i+1 : i+end]
			if rest, not := strings.CutPrefix(set, "!"); not {
				set = "^" + rest
			}
			b.WriteString("[" + strings.ReplaceAll(set, `\`, `\\`) + "]")
			i += end
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	if !crosses {
		return pattern.Compile(b.String() + "(/|$)")
	}
	return pattern.Compile(b.String() + "$")
}

// applyDirectory reads <Directory path>, <Directory ~ re> and <DirectoryMatch re>.
func applyDirectory(b *builder, s *scope, d *conf.Directive) (err error) {
	f := b.section(inDirectory, s, d)
	f.folder = true
	text := d.Args[0]
	f.regex = d.Is("DirectoryMatch")
	if text == "~" && len(d.Args) == 2 {
		f.regex, text = true, d.Args[1]
	} else if len(d.Args) == 2 {
		return fmt.Errorf("want one path, or ~ and a regular expression")
	}
	switch {
	case f.regex:
		f.pattern, err = pattern.Compile(text)
	case strings.ContainsAny(text, "*?["):
		text = path.Clean(text)
		f.pattern, err = globPattern(text, false)
	default:
		text = path.Clean(b.file(text))
	}
	if err != nil {
		return err
	}
	f.path = text
	s.folders = append(s.folders, f)
	return b.apply(f, d.Children)
}

// inOrder returns <Directory> sections as httpd merges them: those with fewer
// segments first, and regular expressions behind them.
func inOrder(folders []*scope) []*scope {
	ordered := slices.Clone(folders)
	slices.SortStableFunc(ordered, func(a, b *scope) int { return cmp.Compare(a.depth(), b.depth()) })
	return ordered
}

// applyFiles reads <Files name>, <Files ~ re> and <FilesMatch re>.
func applyFiles(b *builder, s *scope, d *conf.Directive) (err error) {
	f := b.section(inDirectory, s, d)
	f.path = d.Args[0]
	switch {
	case d.Is("FilesMatch"):
		f.pattern, err = pattern.Compile(d.Args[0])
	case d.Args[0] == "~" && len(d.Args) == 2:
		f.pattern, err = pattern.Compile(d.Args[1])
	case len(d.Args) == 2:
		return fmt.Errorf("want one name")
	case strings.ContainsAny(d.Args[0], "*?["):
		f.pattern, err = globPattern(d.Args[0], false)
	}
	if err != nil {
		return err
	}
	s.files = append(s.files, f)
	return b.apply(f, d.Children)
}
