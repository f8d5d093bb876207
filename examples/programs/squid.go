package programs

import (
	"fmt"
	"os/exec"
	"testing"
)

// Squid runs squid with directives, which say who may use it. It keeps nothing.
func Squid(t testing.TB, directives string) *Program {
	t.Helper()
	program := Find(t, "squid", "squid")
	dir := Folder(t)
	return Serve(t, func(addr string) (*exec.Cmd, error) {
		args, err := SquidArgs(dir, addr, directives)
		return exec.Command(program, args...), err
	})
}

// SquidArgs writes a configuration for [Squid] into a folder, and returns the
// arguments.
func SquidArgs(dir, addr, directives string) ([]string, error) {
	account := ""
	u, _, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if u != "" {
		account = "cache_effective_user " + u + "\n"
	}
	file, err := write(dir, "squid.conf", fmt.Sprintf(`http_port %s
visible_hostname squid.test
%spid_filename none
cache deny all
access_log none
cache_log /dev/stderr
coredump_dir %s
pinger_enable off
shutdown_lifetime 0 seconds
%s`, addr, account, dir, directives))
	return []string{"-N", "-f", file}, err
}
