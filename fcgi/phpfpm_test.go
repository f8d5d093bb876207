package fcgi

import (
	"testing"

	"github.com/modproxy/modproxy/examples/programs"
)

// phpFPM is a running php-fpm.
type phpFPM struct{ *programs.Program }

func startPHPFPM(t testing.TB, o programs.PHPFPMOptions) *phpFPM {
	t.Helper()
	return &phpFPM{programs.PHPFPM(t, o)}
}

// target returns the URL in Apache's notation.
func (f *phpFPM) target() string {
	if f.Network == "unix" {
		return "unix:" + f.Addr + "|fcgi://localhost"
	}
	return "fcgi://" + f.Addr
}
