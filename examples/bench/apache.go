package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// apachePeer is httpd with the event MPM.
var apachePeer = peer{name: "apache", programs: []string{"apache2", "httpd"}, debian: "apache2", command: func(j job) ([]string, error) {
	return apacheCommand(j, []string{"proxy", "proxy_http"}, fmt.Sprintf("ProxyPass / http://%s/\n", j.origin))
}}

// apacheCommand writes the directives of a proxy with what httpd needs besides.
func apacheCommand(j job, modules []string, directives string) ([]string, error) {
	dir, err := apacheModules()
	if err != nil {
		return nil, err
	}
	userName, groupName, err := unprivileged()
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, m := range append([]string{"mpm_event", "unixd", "authz_core"}, modules...) {
		file := filepath.Join(dir, "mod_"+m+".so")
		if _, err := os.Stat(file); err == nil { // else it is built in, or httpd says that it is missing
			fmt.Fprintf(&b, "LoadModule %s_module %s\n", m, file)
		}
	}
	if userName != "" {
		fmt.Fprintf(&b, "User %s\nGroup %s\n", userName, groupName)
	}
	fmt.Fprintf(&b, `ServerRoot %[1]s
ServerName localhost
DefaultRuntimeDir %[1]s
PidFile %[1]s/pid
ErrorLog /dev/stderr
LogLevel error
StartServers 2
ThreadsPerChild 64
MaxRequestWorkers 128
MaxKeepAliveRequests 0
KeepAliveTimeout 60
Listen %[2]s
`, j.dir, j.listen)
	b.WriteString(directives)
	path, err := writeConfig(j.dir, "httpd.conf", b.String())
	return []string{"-D", "FOREGROUND", "-f", path}, err
}

// apacheModules finds the folder of httpd's modules.
func apacheModules() (string, error) {
	for _, dir := range []string{"/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2", "/usr/local/apache2/modules"} {
		if _, err := os.Stat(filepath.Join(dir, "mod_proxy_http.so")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("mod_proxy_http.so is in none of the usual places")
}
