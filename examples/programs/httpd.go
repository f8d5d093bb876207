package programs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// HTTPD runs Apache with modules, named as in "proxy proxy_http", and
// directives. Its documents are in Dir. The directives may use ${PORT}, where
// it listens; if they have a Listen of their own, it must be that port of
// 127.0.0.1.
func HTTPD(t testing.TB, modules, directives string) *Program {
	t.Helper()
	program := Find(t, "apache2", "apache2", "httpd")
	dir := Folder(t)
	documents := filepath.Join(dir, "htdocs")
	need(t, os.Mkdir(documents, 0o777))
	p := Serve(t, func(addr string) (*exec.Cmd, error) {
		args, err := HTTPDArgs(dir, addr, modules, "DocumentRoot "+documents+"\n"+directives)
		return exec.Command(program, args...), err
	})
	p.Dir = documents
	return p
}

// HTTPDArgs writes a configuration for [HTTPD] into a folder, and returns the
// arguments.
func HTTPDArgs(dir, addr, modules, directives string) ([]string, error) {
	var conf strings.Builder
	for _, m := range []string{"mpm_event", "unixd", "authz_core"} {
		if file, err := httpdModule(m); err == nil { // else it is built in, or httpd says that it is missing
			fmt.Fprintf(&conf, "LoadModule %s_module %s\n", m, file)
		}
	}
	for _, m := range strings.Fields(modules) {
		file, err := httpdModule(m)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&conf, "LoadModule %s_module %s\n", m, file)
	}
	u, g, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if u != "" {
		fmt.Fprintf(&conf, "User %s\nGroup %s\n", u, g)
	}
	fmt.Fprintf(&conf, `Define PORT %s
ServerName apache.test
ServerRoot %[2]s
PidFile %[2]s/pid
DefaultRuntimeDir %[2]s
Mutex file:%[2]s default
ErrorLog /dev/stderr
StartServers 1
MinSpareThreads 5
MaxSpareThreads 50
ThreadsPerChild 25
MaxRequestWorkers 50
GracefulShutdownTimeout 1
`, port(addr), dir)
	if !strings.Contains(directives, "Listen ") {
		fmt.Fprintf(&conf, "Listen %s\n", addr)
	}
	file, err := write(dir, "httpd.conf", conf.String()+directives)
	return []string{"-D", "FOREGROUND", "-f", file}, err
}

// httpdModule returns the file of a module.
func httpdModule(name string) (string, error) {
	for _, dir := range []string{"/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2", "/usr/local/apache2/modules"} {
		file := filepath.Join(dir, "mod_"+name+".so")
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	debianPackage := "apache2-bin"
	if name == "jk" {
		debianPackage = "libapache2-mod-jk"
	}
	return "", missing("mod_"+name+" of httpd", debianPackage)
}
