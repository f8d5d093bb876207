package apache

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// hostileFiles are those that a client asks for by other names than it may.
var hostileFiles = map[string]string{
	"index.html": "index", "private/secret.txt": "secret", ".git/config": "secret", ".htaccess": "SetEnv A b\n", "sub/.htpasswd": "secret", "aliased/d.txt": "d",
	"aliased-secret/d.txt": "secret", "front/index.html": "front", "own/secret.txt": "secret", "own/.htaccess": "<Files secret.txt>\nRequire all denied\n</Files>\n",
	"rules/.htaccess": "RewriteEngine On\nRewriteRule ^go/(.*)$ /tell/$1 [PT]\n", "named": "secret", "moved.html": "m",
}

// hostileRows are paths, targets, hosts and heads that try to be taken for others.
func hostileRows() (rows []row) {
	add := func(host, line, fields string) {
		name := host + ": " + line + " " + fields
		if len(name) > 120 {
			name = name[:120]
		}
		rows = append(rows, row{name: name, host: host, line: line, fields: fields})
	}
	spellings := []func(p string) string{
		func(p string) string { return p },
		func(p string) string { return "/" + p },
		func(p string) string { return "/." + p },
		func(p string) string { return "/x/.." + p },
		func(p string) string { return "/.." + p },
		func(p string) string { return "/%2e%2e" + p },
		func(p string) string { return "/x/../.." + p },
		func(p string) string { return "/app/../.." + p },
		func(p string) string { return "/x/..%2f" + p[1:] },
		func(p string) string { return "/x/..;" + p },
		func(p string) string { return `/x\..` + p },
		func(p string) string { return "/data/.." + p },
		func(p string) string { return "/data.." + p },
		func(p string) string { return p + "/" },
		func(p string) string { return p + "/x" },
		func(p string) string { return p + "." },
		func(p string) string { return p + "%20" },
		func(p string) string { return p + ";x" },
		func(p string) string { return p + "%2f" },
		func(p string) string { return p + "/." },
		func(p string) string { return p + "/../../.." },
		func(p string) string { return strings.ReplaceAll(p, ".", "%2e") },
		func(p string) string { return strings.ReplaceAll(p, ".", "%252e") },
		func(p string) string { return strings.ReplaceAll(p, "/", "//") },
		func(p string) string { return "/" + strings.ReplaceAll(p[1:], "/", "%2f") },
		func(p string) string { return "/" + strings.ReplaceAll(p[1:], "/", `\`) },
		func(p string) string { return "/" + strings.ToUpper(p[1:]) },
		func(p string) string { return "GET http://disk.test" + p },
		func(p string) string { return "GET http://disk.test/.." + p },
		func(p string) string { return "GET disk.test:80" + p },
		func(p string) string { return "GET disk.test:80" },
	}
	for _, p := range []string{"/private/secret.txt", "/.git/config", "/sub/.htpasswd", "/own/secret.txt", "/locked/x", "/aliased-secret/d.txt", "/app/x"} {
		for _, spell := range spellings {
			if line := spell(p); line != "GET disk.test:80" || p == "/app/x" {
				add("disk.test", line, "")
			}
		}
	}
	for _, p := range []string{"/front/x", "/front/x%0ay", "/front/../front/x", "/front/../../front/x"} {
		add("disk.test", p, "")
	}
	for _, host := range []string{"disk.test", "DISK.test", "disk.test.", "Disk.Test:80"} {
		add(host, "/named", "")
	}
	for _, host := range []string{"", "..", ".", "a..b", "a..", "a...", ".a", "a,b", "*", "a*", "a%2eb", "1.2.3", "1.2.3.4", "1.2.3.04", "1.2.3.4.", "a.1", "a.1b", "a.b1", "1a", "-a", "a_b", "[::1]", "a!b", "$", "a&b", "localhost", "xn--a.b", "a.b."} {
		add(host, "/index.html", "")
		add(host, "GET http://disk.test/index.html", "")
	}
	add("-", "GET /index.html HTTP/1.0", "")
	for _, p := range []string{"a", "a%20b", "a%0ab", "a%0db", "a%0d%0aX:y", "a%01b", "a%7fb", "a;b", "a%3bb", "a:b:c:d"} {
		add("rules.test", "/cookie/"+p, "")
	}
	for _, p := range []string{"/away/x", "/away@x/", "/away.x/", "/away//x", "/away/%0d%0aX:y", "/away%0d%0aX:y", "/host/x", "/host//x", "/host/%5cx", "/self/x", "/query?../../x", "/query?../index.html", "/query?../../../x",
		"/through?../x", "/through?index.html", "/through?private/secret.txt", "/through?../private/secret.txt", "/through?x/../.git/config", "/to/x", "/to//x", "/to/%0d%0ax", "/tell/x", "/rules/go/x"} {
		add("rules.test", p, "")
	}
	for _, fields := range []string{"", "User-Agent: a", "X-Kind: b", "User-Agent: b|X-Kind: b", "User-Agent: c|X-Kind: c"} {
		for _, p := range []string{"/vary", "/host-vary", "/field-vary", "/vary-cookie", "/vary-none", "/vary-backend"} {
			add("rules.test", p, fields)
		}
	}
	for _, host := range []string{"RULES.test", "WWW.Rules.test", "rules.test."} {
		add(host, "/self/x", "")
		add(host, "/host/x", "")
	}
	field := func(n int) string { return "X: " + strings.Repeat("a", n-len("X: ")) }
	for _, line := range []string{"/" + strings.Repeat("a", 8175), "/" + strings.Repeat("a", 8200)} {
		add("disk.test", line, "")
	}
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X%d: a|", i)
		}
		return b.String()
	}
	for _, fields := range []string{field(8190), field(8192), many(99), many(100)} {
		add("disk.test", "/app/x", fields)
	}
	for i := range rows {
		for _, r := range rows[:i] {
			if r.name == rows[i].name {
				rows[i].name += " again"
			}
		}
	}
	return rows
}

var hostile = comparison{file: "hostile.conf", modules: "env setenvif headers dir alias rewrite proxy proxy_http", rows: hostileRows(), meant: hostileMeant,
	defines: func(t *testing.T, _ string) map[string]string {
		root := programs.Folder(t)
		for name, text := range hostileFiles {
			name = filepath.Join(root, "www", name)
			require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
			require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
		}
		require.NoError(t, os.Chmod(root, 0o755))
		return map[string]string{"ROOT": root}
	}}

// hostileMeant are the differences that we mean.
var hostileMeant = map[string]meantDifference{}

func TestHostileDifferential(t *testing.T) { hostile.beside(t) }

func TestHostileOutcomes(t *testing.T) { hostile.alone(t, "hostile.golden") }
