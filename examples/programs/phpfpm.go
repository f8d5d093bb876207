package programs

import (
	"cmp"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
)

// PHPFPMOptions say how php-fpm runs.
type PHPFPMOptions struct {
	Unix     bool   // listens at a socket of the file system
	Children int    // zero means 4
	More     string // lines for the section of its pool
}

// PHPFPM runs php-fpm. Dir is an empty folder for scripts.
func PHPFPM(t testing.TB, o PHPFPMOptions) *Program {
	t.Helper()
	program := Find(t, "php-fpm", "php-fpm", "php-fpm*")
	run := Folder(t)
	command := func(addr string) (*exec.Cmd, error) {
		args, err := o.Args(run, addr)
		return exec.Command(program, args...), err
	}
	var p *Program
	if o.Unix {
		socket := filepath.Join(run, "fpm.sock")
		cmd, err := command(socket)
		need(t, err)
		p = ServeAt(t, "unix", socket, cmd)
	} else {
		p = Serve(t, command)
	}
	p.Dir = Folder(t)
	return p
}

// Args writes the configuration into a folder, and returns the arguments.
func (o PHPFPMOptions) Args(dir, addr string) ([]string, error) {
	account := ""
	u, g, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if u != "" {
		account = fmt.Sprintf("user = %s\ngroup = %s\n", u, g)
	}
	file, err := write(dir, "fpm.conf", fmt.Sprintf("[global]\nerror_log = /dev/stderr\ndaemonize = no\n[www]\n%slisten = %s\nlisten.mode = 0666\n"+
		"pm = static\npm.max_children = %d\nclear_env = no\ncatch_workers_output = yes\n%s\n",
		account, addr, cmp.Or(o.Children, 4), o.More))
	return []string{"-F", "-y", file}, err
}
