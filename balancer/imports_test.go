package balancer

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// TestImports: a balancer carries any protocol, and so must know none but what
// proxy itself speaks.
func TestImports(t *testing.T) {
	out, err := exec.Command(programs.Find(t, "golang-go", "go"), "list", "-deps", ".").Output()
	require.NoError(t, err)
	const module = "github.com/modproxy/modproxy/"
	allowed := map[string]bool{"internal/within": true, "proxy": true, "proxy/backend": true, "balancer": true}
	for dep := range strings.FieldsSeq(string(out)) {
		if rest, ok := strings.CutPrefix(dep, module); ok {
			require.True(t, allowed[rest], "balancer must not import %s", dep)
		}
	}
}
