package conf

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
)

// conditional reports whether a section is a condition on its content.
func conditional(d *Directive) bool {
	return slices.ContainsFunc([]string{"IfDefine", "IfModule", "IfFile", "IfVersion", "IfDirective", "IfSection"}, d.Is)
}

// holds evaluates the condition of a section.
func (p *parser) holds(d *Directive) (bool, error) {
	if d.Is("IfVersion") {
		return p.versionHolds(d)
	}
	if len(d.Args) != 1 {
		return false, fmt.Errorf("<%s> takes one name", d.Name)
	}
	name, not := strings.CutPrefix(d.Args[0], "!")
	var holds bool
	switch {
	case d.Is("IfDefine"):
		_, holds = p.opt.Defines[name]
	case d.Is("IfModule"):
		holds = p.opt.HasModule != nil && p.opt.HasModule(name)
	case d.Is("IfDirective"):
		holds = p.has(name)
	case d.Is("IfSection"):
		holds = p.has("<" + name)
	case d.Is("IfFile"):
		_, err := os.Stat(p.path(&Directive{Args: []string{name}, File: d.File}))
		holds = err == nil
	}
	return holds != not, nil
}

// has reports whether a directive is known, here or to the caller.
func (p *parser) has(name string) bool {
	here := []string{"Define", "UnDefine", "Include", "IncludeOptional", "Use", "UndefMacro", "Error",
		"<IfDefine", "<IfModule", "<IfFile", "<IfVersion", "<IfDirective", "<IfSection", "<Macro"}
	return slices.ContainsFunc(here, func(s string) bool { return strings.EqualFold(s, name) }) || p.opt.HasDirective != nil && p.opt.HasDirective(name)
}

// versionHolds evaluates <IfVersion [[!]operator] version>.
func (p *parser) versionHolds(d *Directive) (bool, error) {
	op, version := "=", ""
	switch len(d.Args) {
	case 1:
		version = d.Args[0]
	case 2:
		op, version = d.Args[0], d.Args[1]
	default:
		return false, fmt.Errorf("<%s> takes an operator and a version", d.Name)
	}
	if p.opt.Version == "" {
		return false, nil
	}
	op, not := strings.CutPrefix(op, "!")
	if rest, ok := strings.CutPrefix(version, "/"); ok && (op == "=" || op == "==") {
		op, version = "~", strings.TrimSuffix(rest, "/")
	}
	var holds bool
	if op == "~" {
		re, err := pattern.Compile(version)
		if err != nil {
			return false, err
		}
		holds = re.MatchString(p.opt.Version)
		return holds != not, nil
	}
	order, err := compareVersions(p.opt.Version, version)
	if err != nil {
		return false, err
	}
	switch op {
	case "=", "==":
		holds = order == 0
	case ">":
		holds = order > 0
	case ">=":
		holds = order >= 0
	case "<":
		holds = order < 0
	case "<=":
		holds = order <= 0
	default:
		return false, fmt.Errorf("operator %q is not known", op)
	}
	return holds != not, nil
}

// compareVersions compares major.minor.patch; parts that are not given are 0.
func compareVersions(a, b string) (int, error) {
	read := func(s string) (parts [3]int, err error) {
		fields := strings.Split(s, ".")
		if len(fields) > 3 {
			return parts, fmt.Errorf("%q is no version", s)
		}
		for i, f := range fields {
			if parts[i], err = strconv.Atoi(f); err != nil || parts[i] < 0 {
				return parts, fmt.Errorf("%q is no version", s)
			}
		}
		return parts, nil
	}
	x, err := read(a)
	if err != nil {
		return 0, err
	}
	y, err := read(b)
	if err != nil {
		return 0, err
	}
	for i := range x {
		if x[i] != y[i] {
			return x[i] - y[i], nil
		}
	}
	return 0, nil
}
