package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCommandLine: the flags of httpd that ask about a configuration, apart from
// their names or not, write what httpd writes and end.
func TestCommandLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.conf")
	require.NoError(t, os.WriteFile(file, []byte(`Listen 8080
ServerName main.test
<IfDefine SSL>
Nonsense
</IfDefine>
<VirtualHost *:8080>
ServerName a.test
ServerAlias www.a.test *.b.test
</VirtualHost>
<VirtualHost *:8080>
ServerName c.test
</VirtualHost>
<VirtualHost 127.0.0.1:8080>
ServerName d.test
</VirtualHost>
`), 0o644))
	ask := func(args ...string) (string, string, int) {
		var out, errs bytes.Buffer
		code := run(append(args, "-f", file), &out, &errs, nil, nil)
		return out.String(), errs.String(), code
	}
	for _, args := range [][]string{{"-S"}, {"-t", "-D", "DUMP_VHOSTS"}, {"-t", "-DDUMP_VHOSTS"}, {"-X", "-T", "-e", "debug", "-k", "start", "-kstart", "-S"}} {
		out, _, code := ask(args...)
		require.Zero(t, code)
		ours, _, _ := strings.Cut(out, "ServerRoot:")
		require.Contains(t, ours, "*:8080                 is a NameVirtualHost\n         default server a.test ("+file+":6)\n")
		if httpd, err := exec.LookPath("apache2"); err == nil {
			conf := filepath.Join(t.TempDir(), "httpd.conf")
			modules := "/usr/lib/apache2/modules/"
			require.NoError(t, os.WriteFile(conf, []byte("ServerRoot "+t.TempDir()+"\nLoadModule mpm_event_module "+modules+"mod_mpm_event.so\nLoadModule authz_core_module "+modules+"mod_authz_core.so\nErrorLog /dev/null\nInclude "+file+"\n"), 0o644))
			theirs, err := exec.Command(httpd, "-S", "-f", conf).Output()
			if err == nil {
				text, _, _ := strings.Cut(string(theirs), "ServerRoot:")
				require.ElementsMatch(t, strings.Split(text, "\n"), strings.Split(ours, "\n"))
			}
		}
	}
	for _, args := range [][]string{{"-M"}, {"-t", "-D", "DUMP_MODULES"}} {
		out, _, code := ask(args...)
		require.Zero(t, code)
		require.Contains(t, out, " proxy_module (static)\n")
		require.NotContains(t, out, "lua_module")
	}
	out, _, code := ask("-l")
	require.Zero(t, code)
	require.Contains(t, out, "  mod_proxy.c\n")
	out, _, code = ask("-v")
	require.Zero(t, code)
	require.Contains(t, out, "Apache/2.4.")
	_, errs, code := ask("-t", "-DSSL")
	require.Equal(t, 1, code)
	require.Contains(t, errs, ":4: Nonsense is not known")
	_, errs, code = ask("-t", "-C", "Define SSL")
	require.Equal(t, 1, code)
	require.Contains(t, errs, ":4: Nonsense is not known")
	_, errs, code = ask("-t", "-c", "Nonsense 3")
	require.Equal(t, 1, code)
	require.Equal(t, "httpd: command line:1: Nonsense is not known\n", errs)
	for word, want := range map[string]string{"stop": "SIGTERM", "graceful": "SIGUSR1", "restart": "SIGHUP", "jump": "are known"} {
		_, errs, code = ask("-k", word)
		require.Equal(t, 2, code)
		require.Contains(t, errs, want)
	}
	_, _, code = ask("-e", "loud")
	require.Equal(t, 2, code)
}
