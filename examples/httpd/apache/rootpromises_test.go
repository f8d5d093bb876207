package apache

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestREADMEPromises: each row of the table in "Safe by default" names tests,
// by package, and each of them is there.
func TestREADMEPromises(t *testing.T) {
	text, _ := readmeBlocks(t)
	_, section, ok := strings.Cut(text, "\n## Safe by default\n")
	require.True(t, ok, "README.md has no section of promises")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if !strings.HasPrefix(line, "| ") || cells[0] == "promise" {
			continue
		}
		rows++
		require.Len(t, cells, 2, line)
		for part := range strings.SplitSeq(cells[1], "; ") {
			dir, names, ok := strings.Cut(part, ": ")
			require.True(t, ok, "no package before %q", part)
			tests := testsOf(t, dir)
			for name := range strings.SplitSeq(names, ", ") {
				require.True(t, tests[name], "%s has no test %s, which holds %q", dir, name, cells[0])
			}
		}
	}
	require.GreaterOrEqual(t, rows, 20, "promises are missing, or not found")
}

var testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// testsOf returns the names of the tests of a package.
func testsOf(t *testing.T, dir string) map[string]bool {
	files, err := filepath.Glob(filepath.Join("../../..", dir, "*_test.go"))
	require.NoError(t, err)
	names := make(map[string]bool)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range testFunc.FindAllSubmatch(b, -1) {
			names[string(m[1])] = true
		}
	}
	return names
}
