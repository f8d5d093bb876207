package programs

import (
	"cmp"
	"fmt"
	"os/exec"
	"testing"
)

// Nginx runs nginx with directives for its only server. Its documents are in
// Dir.
func Nginx(t testing.TB, directives string) *Program {
	t.Helper()
	program := Find(t, "nginx", "nginx")
	dir := Folder(t)
	p := Serve(t, func(addr string) (*exec.Cmd, error) {
		args, err := NginxOptions{HTTP: fmt.Sprintf("server {\nlisten %s;\nroot %s;\n%s\n}\n", addr, dir, directives)}.Args(dir)
		return exec.Command(program, args...), err
	})
	p.Dir = dir
	return p
}

// NginxOptions say how nginx runs.
type NginxOptions struct {
	Workers     int    // zero means 1
	Connections int    // of a worker; zero means 100
	HTTP        string // the http block, with its servers
}

// Args writes the configuration into a folder, and returns the arguments.
func (o NginxOptions) Args(dir string) ([]string, error) {
	account := ""
	u, g, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if u != "" {
		account = fmt.Sprintf("user %s %s;", u, g)
	}
	file, err := write(dir, "nginx.conf", fmt.Sprintf(`
%[1]s
daemon off;
worker_processes %[2]d;
pid %[3]s/pid;
error_log stderr warn;
events { worker_connections %[4]d; }
http {
  access_log off;
  client_body_temp_path %[3]s/body;
  proxy_temp_path %[3]s/proxy;
  fastcgi_temp_path %[3]s/fastcgi;
  uwsgi_temp_path %[3]s/uwsgi;
  scgi_temp_path %[3]s/scgi;
%[5]s}
`, account, cmp.Or(o.Workers, 1), dir, cmp.Or(o.Connections, 100), o.HTTP))
	return []string{"-e", "stderr", "-p", dir, "-c", file}, err
}
