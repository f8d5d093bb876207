package apache

import (
	"errors"
	"net/http"
	"slices"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// methodSet are the methods that a <Limit> is for. Nil are all.
type methodSet struct {
	names  []string
	except bool // all but those
}

func newMethodSet(names []string) *methodSet {
	m := &methodSet{names: slices.Clone(names)}
	for i, name := range names {
		if name == http.MethodHead {
			m.names[i] = http.MethodGet
		}
	}
	return m
}

// covers reports whether a method is among them. HEAD is GET without a body, as in
// httpd.
func (m *methodSet) covers(method string) bool {
	if m == nil {
		return true
	}
	if method == http.MethodHead {
		method = http.MethodGet
	}
	return slices.Contains(m.names, method) != m.except
}

// with returns the methods that are in m or in other.
func (m *methodSet) with(other *methodSet) *methodSet {
	switch {
	case m == nil || other == nil:
		return nil
	case m.except && other.except:
		return &methodSet{except: true, names: slices.DeleteFunc(slices.Clone(m.names), func(n string) bool { return !slices.Contains(other.names, n) })}
	case m.except:
		return &methodSet{except: true, names: slices.DeleteFunc(slices.Clone(m.names), func(n string) bool { return slices.Contains(other.names, n) })}
	case other.except:
		return other.with(m)
	}
	return &methodSet{names: behind(m.names, other.names)}
}

// limitDirectives are the sections of httpd's core for some methods.
func limitDirectives() []directive {
	const in = inSection | inRequire
	return []directive{
		{name: "Limit", section: true, in: in, min: 1, max: -1, apply: applyLimit},
		{name: "LimitExcept", section: true, in: in, min: 1, max: -1, apply: applyLimit},
	}
}

// applyLimit reads <Limit GET …> and <LimitExcept GET …>: what access control says
// in it is for those methods; all else is as outside.
func applyLimit(b *builder, s *scope, d *conf.Directive) error {
	if slices.Contains(d.Args, http.MethodTrace) {
		return errors.New("TRACE is not controlled by it, see TraceEnable")
	}
	m := newMethodSet(d.Args)
	m.except = d.Is("LimitExcept")
	if s.limit != nil {
		return errors.New("it may not stand in another one")
	}
	s.limit = m
	defer func() { s.limit = nil }()
	return b.apply(s, d.Children)
}
