package apache

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// Severity says whether a configuration with a [Problem] is served.
type Severity string

const (
	SeverityError   Severity = "error"   // it is not served
	SeverityWarning Severity = "warning" // it is, and may surprise
)

// Problem is what is wrong at one place of a configuration.
type Problem struct {
	File      string   `json:"file,omitempty"` // empty for the configuration as a whole
	Line      int      `json:"line,omitempty"`
	Directive string   `json:"directive,omitempty"` // as written; empty for what is no directive
	Message   string   `json:"message"`
	Hint      string   `json:"hint,omitempty"` // what would do, if that is known
	Severity  Severity `json:"severity"`
}

// Error gives a line: "site.conf:3: ProxyPas is not known; did you mean
// ProxyPass?". That of a warning says so behind the place.
func (p Problem) Error() string {
	if p.Severity == SeverityWarning {
		return p.line("warning: ")
	}
	return p.line("")
}

func (p Problem) line(mark string) string {
	var b strings.Builder
	if p.File != "" {
		fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	}
	b.WriteString(mark + p.Message)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Problems are all that is wrong with a configuration, file by file and line by
// line. It is the error of [Load], [Parse]
// and [Site.Reload] when a configuration is refused, and then holds its warnings,
// too.
type Problems []Problem

// Error gives a line for each problem.
func (all Problems) Error() string {
	lines := make([]string, len(all))
	for i, p := range all {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// add appends what an error says, each of several as a problem of its own.
func (all *Problems) add(err error, severity Severity) {
	var several conf.Errors
	if errors.As(err, &several) {
		for _, one := range several {
			all.add(one, severity)
		}
		return
	}
	p := Problem{Severity: severity, Hint: conf.Hint(err)}
	var at *conf.Error
	if errors.As(err, &at) {
		p.File, p.Line, p.Directive, err = at.File, at.Line, at.Directive, at.Err
	}
	p.Message = strings.TrimSuffix(err.Error(), "; "+p.Hint)
	*all = append(*all, p)
}

// sorted returns the problems in their order, none twice.
func (all Problems) sorted() Problems {
	order := map[string]int{"": -1}
	seen := make(map[Problem]bool)
	var list Problems
	for _, p := range all {
		if _, ok := order[p.File]; !ok {
			order[p.File] = len(order)
		}
		if !seen[p] {
			seen[p] = true
			list = append(list, p)
		}
	}
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line))
	})
	return list
}

// faulty reports whether a problem is more than a warning.
func (all Problems) faulty() bool {
	return slices.ContainsFunc(all, func(p Problem) bool { return p.Severity == SeverityError })
}
