package fcgi

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// phpFPM is a running php-fpm.
type phpFPM struct {
	*programs.Program
	t testing.TB
}

func startPHPFPM(t testing.TB, o programs.PHPFPMOptions) *phpFPM {
	t.Helper()
	return &phpFPM{programs.PHPFPM(t, o), t}
}

// script writes a script, and returns its path.
func (f *phpFPM) script(name, text string) string {
	f.t.Helper()
	path := filepath.Join(f.Dir, name)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(f.t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// target returns the URL in Apache's notation.
func (f *phpFPM) target() string {
	if f.Network == "unix" {
		return "unix:" + f.Addr + "|fcgi://localhost"
	}
	return "fcgi://" + f.Addr
}
