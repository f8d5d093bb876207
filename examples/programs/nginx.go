package programs

import (
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
	p := Serve(t, func(addr string) *exec.Cmd {
		account := ""
		if u, g := unprivileged(t); u != "" {
			account = fmt.Sprintf("user %s %s;", u, g)
		}
		conf := fmt.Sprintf(`
%[1]s
daemon off;
worker_processes 1;
pid %[2]s/pid;
error_log stderr warn;
events { worker_connections 100; }
http {
  access_log off;
  client_body_temp_path %[2]s/body;
  proxy_temp_path %[2]s/proxy;
  fastcgi_temp_path %[2]s/fastcgi;
  uwsgi_temp_path %[2]s/uwsgi;
  scgi_temp_path %[2]s/scgi;
  server {
    listen %[3]s;
    root %[2]s;
    %[4]s
  }
}
`, account, dir, addr, directives)
		return exec.Command(program, "-p", dir, "-c", write(t, dir, "nginx.conf", conf))
	})
	p.Dir = dir
	return p
}
