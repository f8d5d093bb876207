package programs

import (
	"cmp"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// UWSGIOptions say how uWSGI runs.
type UWSGIOptions struct {
	Protocol  string // "uwsgi" or "scgi"; empty means the first
	Unix      bool   // listens at a socket of the file system
	App       string // text of a Python module with a WSGI application
	Processes int    // zero means 2
}

// UWSGI runs an application in uWSGI.
func UWSGI(t testing.TB, o UWSGIOptions) *Program {
	t.Helper()
	program := Find(t, "uwsgi-core", "uwsgi-core")
	NeedFile(t, "/usr/lib/uwsgi/plugins/python3_plugin.so", "uwsgi-plugin-python3")
	run := Folder(t)
	command := func(addr string) (*exec.Cmd, error) {
		args, err := o.Args(run, addr)
		return exec.Command(program, args...), err
	}
	if !o.Unix {
		return Serve(t, command)
	}
	socket := filepath.Join(run, "app.sock")
	cmd, err := command(socket)
	need(t, err)
	return ServeAt(t, "unix", socket, cmd)
}

// Args writes the application into a folder, and returns the arguments.
func (o UWSGIOptions) Args(dir, addr string) ([]string, error) {
	file, err := write(dir, "app.py", o.App)
	if err != nil {
		return nil, err
	}
	args := []string{"--plugin", "python3", "--wsgi-file", file, "--need-app", "--die-on-term", "--disable-logging",
		"--processes", strconv.Itoa(cmp.Or(o.Processes, 2)), "--chmod-socket=666"}
	if o.Protocol == "scgi" {
		args = append(args, "--scgi-socket", addr)
	} else {
		args = append(args, "--uwsgi-socket", addr)
	}
	u, g, err := unprivileged()
	if u != "" {
		args = append(args, "--uid", u, "--gid", g)
	}
	return args, err
}
