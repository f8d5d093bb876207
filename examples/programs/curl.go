package programs

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Curled is what curl wrote and how it ended.
type Curled struct {
	Out, Errors string
	Code        int // its exit code
}

// Curl runs curl and waits for its end.
func Curl(t testing.TB, args ...string) Curled {
	t.Helper()
	var out, errOut strings.Builder
	cmd := CurlCommand(t, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		need(t, err)
	}
	return Curled{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// CurlCommand is curl without settings of the user's, of which the proxies in
// the environment are some.
func CurlCommand(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(Find(t, "curl", "curl"), append([]string{"--disable", "--silent", "--show-error", "--max-time", "60"}, args...)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(strings.ToLower(v), "=")
		return strings.HasSuffix(name, "_proxy")
	})
	return cmd
}
