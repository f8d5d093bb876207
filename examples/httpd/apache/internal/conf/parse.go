package conf

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/plainfile"
)

// maxDepth bounds how deep files may include each other and sections nest.
const maxDepth = 64

// maxLine bounds a line with its continuations, in bytes.
const maxLine = 1 << 20

// Options are what a configuration may ask of its surroundings.
type Options struct {
	// Defines are the names set by -D and Define; Define and UnDefine in the
	// configuration change the map. If nil, it starts empty.
	Defines map[string]string

	// Getenv looks up ${NAME} when nothing is defined by that name. If nil,
	// os.LookupEnv.
	Getenv func(string) (string, bool)

	// HasModule says whether <IfModule name> holds. If nil, it never does.
	HasModule func(name string) bool

	// Version is that of the server, such as "2.4.71", for <IfVersion>. If
	// empty, no condition on it holds, negated or not.
	Version string

	// HasDirective says whether <IfDirective name> holds, and with "<" before the
	// name, <IfSection name>. If nil, they never do.
	HasDirective func(name string) bool

	// Skipped is told of each <IfModule name> that is left out, and of what stands
	// in it, by name and place alone. What it returns is a warning. If nil, nobody
	// is told.
	Skipped func(section *Directive, inner []*Directive) error

	// Before and After are lines around those that are read.
	Before, After []string

	// Root is the folder of relative names until ServerRoot is read. If empty, it
	// is that of the configuration.
	Root string

	// Override reads a file that is no part of the server's configuration, such as
	// a .htaccess: Define, Include, Use and their kin are directives as all others.
	Override bool

	// Warn is told of what is odd but no error. If nil, nobody is.
	Warn func(*Error)

	// Seen is told of each file that is read, in order. If nil, nobody is.
	Seen func(name string, text []byte)
}

// maxFile bounds a file, in bytes.
const maxFile = 64 << 20

// readFile returns the text of a file, as httpd a regular one or the null device.
func (o *Options) readFile(name string) (io.Reader, error) {
	text, err := plainfile.Read(name, maxFile)
	if err != nil {
		return nil, err
	}
	if o.Seen != nil {
		o.Seen(name, text)
	}
	return bytes.NewReader(text), nil
}

// File reads the configuration in a file.
func File(name string, opt Options) ([]*Directive, error) {
	text, err := opt.readFile(name)
	if err != nil {
		return nil, err
	}
	return Parse(text, name, opt)
}

// Parse reads a configuration from r. The name is for messages. With an error, which is [Errors]
// unless nothing could be read, it returns what could be understood as well.
func Parse(r io.Reader, name string, opt Options) ([]*Directive, error) {
	if opt.Defines == nil {
		opt.Defines = make(map[string]string)
	}
	if opt.Getenv == nil {
		opt.Getenv = os.LookupEnv
	}
	if opt.Root == "" {
		opt.Root = filepath.Dir(name)
	}
	p := &parser{opt: opt, root: opt.Root, macros: make(map[string]*macro)}
	root := &Directive{Name: "configuration", Section: true, File: name}
	p.open = []*Directive{root}
	err := p.lines(opt.Before)
	if err == nil {
		err = p.read(r, name, 0)
	}
	if err == nil {
		err = p.lines(opt.After)
	}
	p.problems.Add(err)
	return root.Children, p.problems.Err()
}

// parser holds the sections that are open, the outermost first.
type parser struct {
	opt      Options
	root     string // ServerRoot
	open     []*Directive
	opened   int          // how many were open when the present file began
	skipped  int          // how many of the open sections, from the first whose condition failed
	left     *Directive   // the <IfModule> that is left out
	leftOut  []*Directive // what stands in it
	macro    *macro       // that is being read
	macros   map[string]*macro
	expanded int // lines of macros, so far
	problems Errors
}

// lines reads lines of the command line.
func (p *parser) lines(lines []string) error {
	return p.read(strings.NewReader(strings.Join(lines, "\n")), "command line", 0)
}

// read reads one file. Sections must close in the file in which they opened. Its
// error ends the reading; all others are among the problems.
func (p *parser) read(r io.Reader, name string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: files include each other too deeply", name)
	}
	outer := p.opened
	p.opened = len(p.open)
	defer func() { p.opened = outer }()
	in := bufio.NewReader(r)
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		_, _ = in.Discard(3)
	}
	for line := 1; ; {
		text, used, err := logicalLine(in)
		if err != nil && err != io.EOF {
			return &Error{File: name, Line: line, Err: err}
		}
		if lerr := p.line(strings.TrimSpace(text), name, line, depth); lerr != nil {
			return lerr
		}
		line += used
		if err == io.EOF {
			break
		}
	}
	if p.macro != nil {
		p.problems.Add(p.macro.at.Errorf("<Macro> is not closed"))
		p.macro = nil
	}
	p.closeTo(p.opened)
	return nil
}

// closeTo leaves sections that are not closed, until so many are open.
func (p *parser) closeTo(n int) {
	for len(p.open) > n {
		last := p.open[len(p.open)-1]
		p.problems.Add(last.Errorf("<%s> is not closed", last.Name))
		p.pop()
	}
}

func (p *parser) pop() {
	p.open = p.open[:len(p.open)-1]
	if p.skipped == 0 {
		return
	}
	if p.skipped--; p.skipped == 0 && p.left != nil {
		if p.opt.Skipped != nil {
			p.warn(p.opt.Skipped(p.left, p.leftOut))
		}
		p.left, p.leftOut = nil, nil
	}
}

func (p *parser) warn(err error) {
	var at *Error
	if p.opt.Warn != nil && errors.As(err, &at) {
		p.opt.Warn(at)
	}
}

// logicalLine reads a line with those that a backslash at its end joins to it.
func logicalLine(in *bufio.Reader) (text string, lines int, err error) {
	var b strings.Builder
	for {
		part, err := in.ReadString('\n')
		lines++
		part = strings.TrimSuffix(strings.TrimSuffix(part, "\n"), "\r")
		if b.Len()+len(part) > maxLine {
			return "", lines, errors.New("line is too long")
		}
		if err == nil && strings.HasSuffix(part, `\`) {
			b.WriteString(strings.TrimSuffix(part, `\`))
			continue
		}
		b.WriteString(part)
		return b.String(), lines, err
	}
}

func (p *parser) line(text, file string, line, depth int) error {
	if p.macro != nil {
		p.macroLine(text, line)
		return nil
	}
	if text == "" || text[0] == '#' {
		return nil
	}
	d := &Directive{File: file, Line: line}
	at := d.Errorf
	if strings.IndexByte(text, 0) >= 0 {
		p.problems.Add(at("NUL byte"))
		return nil
	}
	if rest, ok := strings.CutPrefix(text, "</"); ok {
		name, closed := strings.CutSuffix(firstWord(rest), ">")
		if !closed {
			p.problems.Add(at("</%s has no closing \">\"", name))
		}
		p.problems.Add(p.closeSection(name, at))
		return nil
	}
	if d.Section = text[0] == '<'; d.Section {
		d.Name = sectionName(text)
	}
	if p.skipped > 0 { // only the nesting matters
		if p.left != nil {
			if !d.Section {
				d.Name = firstWord(text)
			}
			p.leftOut = append(p.leftOut, d)
		}
		if d.Section {
			p.skipped++
			return p.enter(d, at)
		}
		return nil
	}
	inner := text
	if d.Section { // as in httpd, what follows the last ">" does not count
		if end := strings.LastIndexByte(text, '>'); end > 0 {
			inner = text[1:end]
		} else {
			inner = text[1:]
			p.problems.Add(at("section has no closing \">\""))
		}
	}
	inner = p.expand(inner, at)
	words, closed := split(inner)
	if !closed {
		p.warn(at("quote is not closed"))
	}
	switch {
	case len(words) > 0 && words[0] != "":
		d.Name, d.Args = words[0], words[1:]
		_, d.Raw, _ = strings.Cut(inner, d.Name)
		d.Raw = strings.TrimSpace(d.Raw)
	case !d.Section:
		p.problems.Add(at("directive has no name"))
		return nil
	default:
		p.problems.Add(at("section has no name"))
		return p.enter(d, at) // so that its end is one
	}
	if d.Section && d.Is("Macro") && !p.opt.Override {
		p.beginMacro(d)
		return nil
	}
	if d.Section {
		p.openSection(d, at)
		return p.enter(d, at)
	}
	return p.directive(d, depth)
}

func sectionName(text string) string {
	words := strings.Fields(strings.TrimSuffix(text[1:], ">"))
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// enter makes a section the innermost that is open.
func (p *parser) enter(d *Directive, at func(string, ...any) error) error {
	if p.open = append(p.open, d); len(p.open) > maxDepth {
		return at("sections are nested too deeply")
	}
	return nil
}

// openSection puts a section into its parent; a conditional one leaves no trace
// but its children, which belong to the parent.
func (p *parser) openSection(d *Directive, at func(string, ...any) error) {
	if !conditional(d) {
		parent := p.container()
		parent.Children = append(parent.Children, d)
		return
	}
	holds, err := p.holds(d)
	if err != nil {
		p.problems.Add(at("%w", err))
	} else if !holds {
		p.skipped = 1
		if d.Is("IfModule") && !strings.HasPrefix(d.Args[0], "!") {
			p.left = d
		}
	}
}

// container is the innermost open section that is not conditional.
func (p *parser) container() *Directive {
	for i := len(p.open) - 1; ; i-- {
		if d := p.open[i]; i == 0 || !conditional(d) {
			return d
		}
	}
}

// closeSection leaves the innermost section that is open. If it is another that
// ends, those in it do, too.
func (p *parser) closeSection(name string, at func(string, ...any) error) error {
	if len(p.open) == p.opened {
		return at("</%s> closes nothing", name)
	}
	last := p.open[len(p.open)-1]
	if last.Is(name) {
		p.pop()
		return nil
	}
	for i := len(p.open) - 2; i >= p.opened; i-- {
		if p.open[i].Is(name) {
			for len(p.open) > i {
				p.pop()
			}
			break
		}
	}
	return at("</%s> where </%s> is expected, for line %d", name, last.Name, last.Line)
}

// directive obeys those that concern the reading itself, and keeps the others.
func (p *parser) directive(d *Directive, depth int) error {
	switch {
	case p.opt.Override:
		c := p.container()
		c.Children = append(c.Children, d)
	case d.Is("Define"):
		if len(d.Args) < 1 || len(d.Args) > 2 {
			p.problems.Add(d.Errorf("Define takes a name and may take a value"))
			return nil
		}
		p.opt.Defines[d.Args[0]] = strings.Join(d.Args[1:], "")
	case d.Is("UnDefine"):
		if len(d.Args) != 1 {
			p.problems.Add(d.Errorf("UnDefine takes a name"))
			return nil
		}
		delete(p.opt.Defines, d.Args[0])
	case d.Is("Use"):
		return p.use(d, depth)
	case d.Is("UndefMacro"):
		p.undefMacro(d)
	case d.Is("Error"):
		p.problems.Add(d.Errorf("%s", strings.Join(d.Args, " ")))
	case d.Is("Include"), d.Is("IncludeOptional"):
		return p.include(d, depth)
	default:
		if d.Is("ServerRoot") && len(d.Args) == 1 {
			p.root = d.Args[0]
		}
		c := p.container()
		c.Children = append(c.Children, d)
	}
	return nil
}

// expand replaces ${NAME}. An unknown name is left as it is, as Apache does.
func (p *parser) expand(s string, at func(string, ...any) error) string {
	if !strings.Contains(s, "${") {
		return s
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "${")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			b.WriteString("${" + rest)
			return b.String()
		}
		value, known := p.opt.Defines[name]
		if !known {
			value, known = p.opt.Getenv(name)
		}
		if !known {
			value = "${" + name + "}"
			p.warn(at("%s is not defined", value))
		}
		b.WriteString(value)
		s = after
	}
}

// split cuts a line into words. In quotes a backslash takes the quote's and
// its own meaning away. A quote that is not closed ends with the line.
func split(s string) (words []string, closed bool) {
	for {
		s = strings.TrimLeft(s, " \t\v\f\r\n")
		if s == "" {
			return words, true
		}
		if q := s[0]; q == '"' || q == '\'' {
			word, rest, ok := quoted(s[1:], q)
			if !ok {
				return append(words, word), false
			}
			words, s = append(words, word), rest
			continue
		}
		end := strings.IndexAny(s, " \t\v\f\r\n")
		if end < 0 {
			end = len(s)
		}
		words, s = append(words, s[:end]), s[end:]
	}
}

func quoted(s string, q byte) (word, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && (s[i+1] == q || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case c == q:
			return b.String(), s[i+1:], true
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", false
}
