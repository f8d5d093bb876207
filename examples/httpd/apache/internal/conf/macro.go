package conf

import (
	"slices"
	"strings"
)

// maxExpanded bounds how many lines macros stand for, in one configuration.
const maxExpanded = 1 << 18

// macro is what stands between <Macro name parameter …> and </Macro>.
type macro struct {
	at     *Directive
	params []string
	lines  []rawLine
	depth  int  // how many <Macro> are open in it while it is read
	used   bool // it is being expanded
}

// rawLine is a line as it stands in a file.
type rawLine struct {
	text string
	line int
}

// beginMacro starts to read <Macro name parameter …>.
func (p *parser) beginMacro(d *Directive) {
	m := &macro{at: d}
	p.macro = m
	if len(d.Args) == 0 {
		p.problems.Add(d.Errorf("<Macro> takes a name"))
		return
	}
	m.params = d.Args[1:]
	for i, name := range m.params {
		if name == "" || slices.Contains(m.params[:i], name) {
			p.problems.Add(d.Errorf("parameters of <Macro %s> need names of their own", d.Args[0]))
			return
		}
	}
	name := strings.ToLower(d.Args[0])
	if old := p.macros[name]; old != nil {
		p.warn(d.Errorf("macro %s takes the place of that in %s, line %d", d.Args[0], old.at.File, old.at.Line))
	}
	p.macros[name] = m
}

// macroLine takes a line of the macro that is being read.
func (p *parser) macroLine(text string, line int) {
	m := p.macro
	switch word := strings.ToLower(firstWord(text)); {
	case word == "<macro":
		m.depth++
	case !strings.HasPrefix(word, "</macro>"):
	case m.depth == 0:
		p.macro = nil
		return
	default:
		m.depth--
	}
	m.lines = append(m.lines, rawLine{text, line})
}

func firstWord(text string) string {
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		return text[:i]
	}
	return text
}

// use reads "Use name argument …": the lines of the macro, with arguments in place
// of parameters.
func (p *parser) use(d *Directive, depth int) error {
	if len(d.Args) == 0 {
		p.problems.Add(d.Errorf("Use takes the name of a macro"))
		return nil
	}
	m := p.macros[strings.ToLower(d.Args[0])]
	args := d.Args[1:]
	switch {
	case m == nil:
		var names []string
		for _, other := range p.macros {
			names = append(names, other.at.Args[0])
		}
		err := d.Errorf("there is no macro %s", d.Args[0])
		if near, ok := Nearest(d.Args[0], names); ok {
			err = WithHint(err, "did you mean "+near+"?")
		}
		p.problems.Add(err)
		return nil
	case m.used:
		p.problems.Add(d.Errorf("macro %s uses itself", d.Args[0]))
		return nil
	case len(args) != len(m.params):
		p.problems.Add(d.Errorf("macro %s takes %d argument(s), not %d", d.Args[0], len(m.params), len(args)))
		return nil
	}
	m.used = true
	defer func() { m.used = false }()
	for _, l := range m.lines {
		if p.expanded++; p.expanded > maxExpanded {
			return d.Errorf("macros stand for too many lines")
		}
		text := strings.TrimSpace(substitute(l.text, m.params, args))
		if len(text) > maxLine {
			return d.Errorf("line is too long")
		}
		if err := p.line(text, m.at.File, l.line, depth); err != nil {
			return err
		}
	}
	return nil
}

// substitute puts arguments in place of parameters; where several fit, the longest
// does.
func substitute(text string, params, args []string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		best := -1
		for n, name := range params {
			if strings.HasPrefix(text[i:], name) && (best < 0 || len(name) > len(params[best])) {
				best = n
			}
		}
		if best < 0 {
			b.WriteByte(text[i])
			i++
			continue
		}
		b.WriteString(args[best])
		i += len(params[best])
	}
	return b.String()
}

// undefMacro reads "UndefMacro name".
func (p *parser) undefMacro(d *Directive) {
	if len(d.Args) != 1 || p.macros[strings.ToLower(d.Args[0])] == nil {
		p.problems.Add(d.Errorf("UndefMacro takes the name of a macro"))
		return
	}
	delete(p.macros, strings.ToLower(d.Args[0]))
}
