package apache

import (
	"errors"
	"net/http"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// conditionalDirectives are the sections of httpd's core that apply when an
// expression holds.
func conditionalDirectives() []directive {
	const in = anywhere
	return []directive{
		{name: "If", section: true, in: in, min: 1, max: -1, apply: applyIf},
		{name: "ElseIf", section: true, in: in, min: 1, max: -1, apply: applyIf},
		{name: "Else", section: true, in: in, max: 0, apply: applyIf},
	}
}

// applyIf reads <If>, <ElseIf> and <Else>. The latter two belong to the section
// before them.
func applyIf(b *builder, s *scope, d *conf.Directive) (err error) {
	i := b.section(inIf, s, d)
	if !d.Is("Else") {
		if i.condition, err = parseCondition(strings.Join(d.Args, " ")); err != nil {
			return err
		}
	}
	if d.Is("If") {
		s.ifs = append(s.ifs, i)
	} else {
		if len(s.ifs) == 0 {
			return errors.New("there is no <If> before it")
		}
		last := s.ifs[len(s.ifs)-1]
		for last.otherwise != nil {
			last = last.otherwise
		}
		if last.condition == nil {
			return errors.New("there is an <Else> before it")
		}
		last.otherwise = i
	}
	return b.apply(i, d.Children)
}

// withConditional adds the <If> sections that hold: those of the servers, and then
// those of the sections that apply. As in httpd, they are merged last.
func (h *host) withConditional(r *http.Request, sections sectionList) sectionList {
	v := visitOf(r)
	list := v.holding(r, sections, h.ifs)
	for _, s := range sections {
		list = v.holding(r, list, s.ifs)
	}
	return list
}

// holding adds those of ifs to the list that hold, with the ones in them.
func (v *visit) holding(r *http.Request, list sectionList, ifs []*scope) sectionList {
	for _, i := range ifs {
		for ; i != nil; i = i.otherwise {
			if i.condition == nil || i.condition.holds(v, r) {
				list = v.holding(r, append(list[:len(list):len(list)], i), i.ifs)
				break
			}
		}
	}
	return list
}
