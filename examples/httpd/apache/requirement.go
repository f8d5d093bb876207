package apache

import (
	"errors"
	"net/http"
	"strings"
)

// accessSettings say who may make a request: Require and its kin, and the words of
// Apache 2.2.
type accessSettings struct {
	merging   *logic // AuthMerging; nil is Off
	require   *requirement
	forbidden *bool // AuthzSendForbiddenOnFailure
	compat    *compat
}

func (s accessSettings) merge(inner accessSettings) accessSettings {
	over(&s.compat, inner.compat) // as a whole, as in httpd
	switch {
	case inner.require == nil && inner.merging == nil: // it says nothing of this
	case inner.merging == nil || *inner.merging == logicOff:
		s.require = inner.require
	case s.require == nil || inner.require == nil:
		if inner.require != nil {
			s.require = inner.require
		}
	default:
		both := &requirement{logic: *inner.merging, limit: s.require.limit.with(inner.require.limit), children: []*requirement{s.require, inner.require}}
		s.require = both
	}
	over(&s.merging, inner.merging)
	over(&s.forbidden, inner.forbidden)
	return s
}

// says reports whether anything is said of who may come in.
func (s accessSettings) says() bool { return s.require != nil || s.compat != nil }

// logic is how requirements are put together.
type logic uint8

const (
	logicOff logic = iota // of AuthMerging: not at all
	logicAny              // <RequireAny>
	logicAll              // <RequireAll>
)

// requirement is a Require, or a section of them.
type requirement struct {
	check    func(v *visit, r *http.Request) verdict // of a Require
	logic    logic                                   // of a section
	children []*requirement
	not      bool       // Require not, <RequireNone>
	limit    *methodSet // of <Limit>
}

// verdict is what a requirement says of a request.
type verdict uint8

const (
	neutral verdict = iota // nothing
	denied
	noUser // a user who has proved who it is could pass
	granted
	undecidable // an error of the configuration or of a file; it is logged
)

func grants(ok bool) verdict {
	if ok {
		return granted
	}
	return denied
}

// judge decides about a request. A requirement for other methods is met where all
// must be met, and not met where any suffices.
func (q *requirement) judge(v *visit, r *http.Request, in logic) verdict {
	if !q.limit.covers(r.Method) {
		return grants(in == logicAll)
	}
	result := neutral
	if q.check != nil {
		result = q.check(v, r)
	}
	for _, child := range q.children {
		one := child.judge(v, r, q.logic)
		if one == undecidable {
			return undecidable
		}
		if result = q.logic.join(result, one); result == granted && q.logic == logicAny || result == denied && q.logic == logicAll {
			break
		}
	}
	if q.not {
		switch result {
		case granted:
			return denied
		case denied, noUser: // that somebody is not refused lets nobody in
			return neutral
		}
	}
	return result
}

// join puts what the next requirement says to what those before have said.
func (l logic) join(before, next verdict) verdict {
	best := denied // of what is said, the one that counts more
	if l == logicAny {
		best = granted
	}
	switch {
	case next == neutral:
		return before
	case before == neutral || next == best:
		return next
	case before == best:
		return before
	case before == noUser || next == noUser:
		return noUser
	}
	return before
}

// section returns what Require directives are added to: the section that is open,
// or that of the scope, of which any suffices.
func (s *scope) section() *requirement {
	if s.context == inRequire {
		return &s.needs
	}
	if s.settings.access.require == nil {
		s.settings.access.require = &requirement{logic: logicAny}
	}
	return s.settings.access.require
}

// add adds a requirement.
func (s *scope) add(q *requirement) error {
	in := s.section()
	if q.not && (in.not || in.logic == logicAny) {
		what, where := "a negative Require", "Any"
		if q.check == nil {
			what = "<RequireNone>"
		}
		if in.not {
			where = "None"
		}
		return errors.New(what + " has no effect in <Require" + where + ">: put it into <RequireAll>")
	}
	if q.check != nil {
		q.limit = s.limit
	}
	if len(in.children) == 0 {
		in.limit = q.limit
	} else {
		in.limit = in.limit.with(q.limit)
	}
	in.children = append(in.children, q)
	return nil
}

// newSection returns the requirement of <RequireAny>, <RequireAll> or
// <RequireNone>, without what is in it.
func newSection(name string) requirement {
	switch strings.ToLower(name) {
	case "requireall":
		return requirement{logic: logicAll}
	case "requirenone":
		return requirement{logic: logicAny, not: true}
	}
	return requirement{logic: logicAny}
}

// hopeless reports whether a section has only negative requirements, which let
// nobody in.
func (q *requirement) hopeless() bool {
	for _, child := range q.children {
		if !child.not {
			return false
		}
	}
	return q.logic == logicAll
}
