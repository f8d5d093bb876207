package apache

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write README.md and testdata/outcomes.golden anew")

// directiveTables is the part of the README that comes from table().
func directiveTables() string {
	var supported, accepted, refused []directive
	for _, d := range table() {
		switch {
		case d.refused:
			refused = append(refused, d)
		case d.apply == nil:
			accepted = append(accepted, d)
		default:
			supported = append(supported, d)
		}
	}
	slices.SortFunc(supported, func(a, b directive) int { return strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name)) })
	var b strings.Builder
	b.WriteString("\n### With effect\n\nS: server, V: `<VirtualHost>`, L: `<Location>`, P: `<Proxy>`, R: `<RequireAll>` and its kin, D: `<Directory>` and `<Files>`, I: `<If>`.\n\n| directive | where | remarks |\n|---|---|---|\n")
	for _, d := range supported {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", d.title(), d.in, strings.ReplaceAll(d.note, "|", `\|`))
	}
	for _, part := range []struct {
		title string
		list  []directive
	}{{"Accepted without effect", accepted}, {"Refused", refused}} {
		fmt.Fprintf(&b, "\n### %s\n\n| directives | why |\n|---|---|\n", part.title)
		var notes []string
		names := make(map[string][]string)
		for _, d := range part.list {
			if names[d.note] == nil {
				notes = append(notes, d.note)
			}
			names[d.note] = append(names[d.note], d.title())
		}
		for _, note := range notes {
			fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(names[note], ", "), note)
		}
	}
	return b.String()
}

func (d directive) title() string {
	if d.section {
		return "`<" + d.name + ">`"
	}
	return "`" + d.name + "`"
}

// String gives the letters of the README.
func (p place) String() string {
	var s string
	for i, letter := range "SVLPRDI" {
		if p&(1<<i) != 0 {
			s += string(letter)
		}
	}
	return s
}

// TestREADME fails when the tables of directives are not those of the program.
func TestREADME(t *testing.T) {
	b, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	const mark = "-update -->\n"
	written, _, ok := strings.Cut(string(b), mark)
	require.True(t, ok, "README.md has no mark")
	want := written + mark + directiveTables()
	if *update {
		require.NoError(t, os.WriteFile("../README.md", []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(b), "run: go test ./examples/httpd/apache -run TestREADME -update")
}
