package apache

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
)

// headerEdit is a Header or RequestHeader.
type headerEdit struct {
	action string           // in lower case
	name   string           // canonical; none of echo
	always bool             // Header always: for answers that this server makes, too
	early  bool             // before all else that looks at the request
	value  *format          // of edit what is put in place
	re     *pattern.Pattern // of edit, or of the names for echo
	when   func(v *visit, r *http.Request) bool

	otherSpelling bool // it sets what tells who the client is, by a name that the proxy takes for another spelling
}

// headerDirectives are those of mod_headers.
func headerDirectives() []directive {
	const note = "set, setifempty, add, append, merge, unset, edit, edit*, note; early, env= and expr= as conditions"
	return []directive{
		{name: "RequestHeader", in: anywhere, min: 2, max: 5, note: note, apply: func(b *builder, s *scope, d *conf.Directive) error {
			e, err := readHeaderEdit(d.Args)
			if err != nil {
				return err
			}
			switch {
			case e.action == "echo":
				return errors.New("echo belongs to Header")
			case framing(e.name):
				return fmt.Errorf("%s says where the body ends and cannot be changed: variable proxy-sendcl gives it a length", e.name)
			}
			s.settings.requestHeader = append(s.settings.requestHeader, e)
			return b.checkEarly(s, d, e)
		}},
		{name: "Header", in: anywhere, min: 2, max: 6, note: note + "; echo; onsuccess and always; a cookie that is added is not cached", apply: func(b *builder, s *scope, d *conf.Directive) error {
			words := d.Args
			always := strings.EqualFold(words[0], "always")
			if always || strings.EqualFold(words[0], "onsuccess") {
				words = words[1:]
			}
			e, err := readHeaderEdit(words)
			if err != nil {
				return err
			}
			e.always = always
			if framing(e.name) {
				if e.action != "unset" {
					return fmt.Errorf("%s says where the body ends and cannot be changed", e.name)
				}
				b.warn(d.Errorf("%s says where the body ends and stays", e.name))
				return nil
			}
			s.settings.header = append(s.settings.header, e)
			return b.checkEarly(s, d, e)
		}},
	}
}

// framing reports whether a field says where a message ends.
func framing(name string) bool {
	return name == "Content-Length" || name == "Transfer-Encoding" || name == "Trailer"
}

// checkEarly says that early has no effect in sections, as in httpd.
func (b *builder) checkEarly(s *scope, d *conf.Directive, e *headerEdit) error {
	if e.early && s.context != inServer && s.context != inVhost {
		b.warn(d.Errorf("early has no effect in a section"))
	}
	return nil
}

// readHeaderEdit reads "action name [[expr=]value [replacement]]
// [early|env=[!]name|expr=expression]".
func readHeaderEdit(words []string) (*headerEdit, error) {
	if len(words) < 2 {
		return nil, errors.New("want an action and a field")
	}
	e := &headerEdit{action: strings.ToLower(words[0]), when: func(*visit, *http.Request) bool { return true }}
	name, _, _ := strings.Cut(words[1], ":")
	var err error
	if e.action == "echo" {
		if e.re, err = pattern.Compile("(?i)" + words[1]); err != nil {
			return nil, err
		}
	} else if !httpguts.ValidHeaderFieldName(name) {
		return nil, fmt.Errorf("%q is no name of a field", name)
	} else {
		e.name = http.CanonicalHeaderKey(name)
		e.otherSpelling = e.setsFacts() && e.name != plainName(e.name)
	}
	values := 1
	switch e.action {
	case "set", "setifempty", "add", "append", "merge", "note":
	case "unset", "echo":
		values = 0
	case "edit", "edit*":
		values = 2
	default:
		return nil, fmt.Errorf("action %q is not known", words[0])
	}
	words = words[2:]
	if len(words) < values {
		return nil, fmt.Errorf("%s takes %d more argument(s)", e.action, values)
	}
	switch values {
	case 1:
		e.value, err = parseFormat(words[0])
	case 2:
		if e.re, err = pattern.Compile(words[0]); err == nil {
			e.value, err = parseFormat(words[1])
		}
	}
	if err != nil {
		return nil, err
	}
	switch rest := words[values:]; {
	case len(rest) == 0:
	case len(rest) > 1:
		return nil, fmt.Errorf("%q is too much", strings.Join(rest[1:], " "))
	default:
		return e, e.readCondition(rest[0])
	}
	return e, nil
}

// readCondition reads the last argument.
func (e *headerEdit) readCondition(text string) (err error) {
	switch kind, rest, _ := strings.Cut(text, "="); strings.ToLower(kind) {
	case "early":
		e.early = true
	case "env":
		if strings.TrimPrefix(rest, "!") == "" {
			return errors.New("env= wants the name of a variable")
		}
		set := variable(rest)
		e.when = func(v *visit, _ *http.Request) bool { return set(v) }
	case "expr":
		var c *condition
		if c, err = parseCondition(rest); err == nil {
			e.when = c.holds
		}
	default:
		err = fmt.Errorf("condition %q is not known: early, env= and expr= are", text)
	}
	return err
}

// variable returns whether a variable is set, or with "!" is not.
func variable(name string) func(v *visit) bool {
	name, not := strings.CutPrefix(name, "!")
	return func(v *visit) bool {
		_, set := v.env[name]
		return set != not
	}
}
