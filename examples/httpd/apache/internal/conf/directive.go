package conf

import (
	"fmt"
	"strings"
)

// Directive is a directive or a section of a configuration.
type Directive struct {
	Name     string   // as written
	Args     []string // without quotes, variables replaced
	Raw      string   // what stands behind the name, variables replaced
	Section  bool     // written as <Name …> … </Name>
	Children []*Directive
	File     string
	Line     int
}

// Is reports whether the directive has this name; case does not matter.
func (d *Directive) Is(name string) bool { return strings.EqualFold(d.Name, name) }

// Errorf returns an error that says where the directive stands.
func (d *Directive) Errorf(format string, args ...any) error {
	return &Error{File: d.File, Line: d.Line, Directive: d.Name, Err: fmt.Errorf(format, args...)}
}

// Nearest returns the word that is most like name, if any is near enough to
// have been meant.
func Nearest(name string, words []string) (string, bool) {
	name = strings.ToLower(name)
	best, at := "", len(name)/3+2
	for _, w := range words {
		if d := distance(name, strings.ToLower(w)); d < at {
			best, at = w, d
		}
	}
	return best, best != ""
}

// distance is the number of letters to insert, remove or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
