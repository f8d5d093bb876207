package apache

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOutcomes sends the requests of TestDifferential here alone, so that they
// are tested where httpd is not installed. What it compares with is what was
// found to be httpd's, but for the meant differences.
func TestOutcomes(t *testing.T) {
	o := newRecording(t)
	ours := startFile(t, "testdata/differential.conf", "-D", "PORT=80", "-D", "ORIGIN="+o.addr(), "-listen", "80=127.0.0.1:0").addr()
	var all strings.Builder
	for _, r := range differentialRows {
		all.WriteString("# " + r.name + "\n")
		for _, line := range outcome(t, o, ours, r) {
			all.WriteString(strings.ReplaceAll(line, strings.Repeat("x", 100), "(x100)") + "\n")
		}
	}
	const golden = "testdata/outcomes.golden"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(all.String()), 0o644))
		return
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), all.String(), "if the change is meant: go test ./examples/httpd/apache -run TestOutcomes -update")
}
