package programs

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
	require.NoError(t, os.Mkdir(documents, 0o777))
	p := Serve(t, func(addr string) *exec.Cmd {
		var conf strings.Builder
		for _, m := range append([]string{"mpm_event", "authz_core"}, strings.Fields(modules)...) {
			fmt.Fprintf(&conf, "LoadModule %s_module %s\n", m, httpdModule(t, m))
		}
		if u, g := unprivileged(t); u != "" {
			fmt.Fprintf(&conf, "User %s\nGroup %s\n", u, g)
		}
		_, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		fmt.Fprintf(&conf, `Define PORT %s
ServerName apache.test
ServerRoot %[2]s
PidFile %[2]s/pid
DefaultRuntimeDir %[2]s
Mutex file:%[2]s default
ErrorLog /dev/stderr
DocumentRoot %[3]s
StartServers 1
MinSpareThreads 5
MaxSpareThreads 50
ThreadsPerChild 25
MaxRequestWorkers 50
GracefulShutdownTimeout 1
`, port, dir, documents)
		if !strings.Contains(directives, "Listen ") {
			fmt.Fprintf(&conf, "Listen %s\n", addr)
		}
		conf.WriteString(directives)
		return exec.Command(program, "-D", "FOREGROUND", "-f", write(t, dir, "httpd.conf", conf.String()))
	})
	p.Dir = documents
	return p
}

// httpdModule returns the file of a module.
func httpdModule(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2"} {
		file := filepath.Join(dir, "mod_"+name+".so")
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	debianPackage := "apache2-bin"
	if name == "jk" {
		debianPackage = "libapache2-mod-jk"
	}
	Missing(t, "mod_"+name+" of httpd", debianPackage)
	return ""
}
