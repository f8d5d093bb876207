package apache

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	gofmt "go/format"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A block is a piece of code of the README.md at the root.
type block struct {
	language, text string
	line           int // of its first line
}

func readmeBlocks(t *testing.T) (text string, blocks []block) {
	b, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	text = string(b)
	for _, at := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$").FindAllStringSubmatchIndex(text, -1) {
		blocks = append(blocks, block{text[at[2]:at[3]], text[at[4]:at[5]], strings.Count(text[:at[4]], "\n") + 1})
	}
	return text, blocks
}

// TestREADMEConfigurations: each configuration of the README passes -t.
func TestREADMEConfigurations(t *testing.T) {
	_, blocks := readmeBlocks(t)
	n := 0
	for _, b := range blocks {
		if b.language != "apache" {
			continue
		}
		n++
		file := filepath.Join(t.TempDir(), "readme.conf")
		require.NoError(t, os.WriteFile(file, []byte(b.text), 0o644))
		var stderr bytes.Buffer
		code := run([]string{"-f", file, "-t", "-listen", "80=127.0.0.1:0"}, io.Discard, &stderr, nil, nil)
		require.Zero(t, code, "README.md:%d: %s", b.line, &stderr)
		require.Equal(t, "Syntax OK\n", stderr.String(), "README.md:%d", b.line)
	}
	require.GreaterOrEqual(t, n, 10, "blocks are missing, or not found")
}

// readmePackages are the imports that the README's functions leave out, by the
// name of the package.
var readmePackages = map[string]string{
	"context": "", "errors": "", "fmt": "", "io": "", "log": "", "net": "", "strings": "", "time": "", "os": "",
	"http": "net/http", "netip": "net/netip", "url": "net/url", "slog": "log/slog",
	"proxy": modulePath + "/proxy", "backend": modulePath + "/proxy/backend", "balancer": modulePath + "/balancer", "manager": modulePath + "/balancer/manager",
	"exchange": modulePath + "/proxy/exchange", "tunnel": modulePath + "/proxy/tunnel", "access": modulePath + "/proxy/access", "accesslog": modulePath + "/proxy/accesslog",
	"fcgi": modulePath + "/fcgi", "ajp": modulePath + "/ajp", "wstunnel": modulePath + "/wstunnel",
	"connect": modulePath + "/connect", "ftpproxy": modulePath + "/ftpproxy", "cache": modulePath + "/cache",
	"store": modulePath + "/cache/store", "memory": modulePath + "/cache/memory", "disk": modulePath + "/cache/disk",
}

const modulePath = "github.com/modproxy/modproxy"

// TestREADMEPrograms compiles the Go code of the README. A block that begins
// with a package clause is a program. All others are declarations of one more,
// which finds its imports by their names, and is run: each function that makes a
// handler must make one.
func TestREADMEPrograms(t *testing.T) {
	_, blocks := readmeBlocks(t)
	var parts, handlers []string
	overlay := make(map[string]string)
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	tmp := t.TempDir()
	// The files are there for the go command alone, not in the tree.
	add := func(name, text string) (folder string) {
		file := filepath.Join(tmp, name+".go")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		folder = filepath.Join(root, "examples", "httpd", "internal", "readme", name)
		overlay[filepath.Join(folder, "main.go")] = file
		return folder
	}
	var whole []string
	for _, b := range blocks {
		if b.language != "go" {
			continue
		}
		formatted, err := gofmt.Source([]byte(b.text))
		require.NoError(t, err, "README.md:%d", b.line)
		require.Equal(t, string(formatted), b.text, "README.md:%d is not in the form of gofmt", b.line)
		require.LessOrEqual(t, strings.Count(b.text, "\n"), 30, "README.md:%d is too long", b.line)
		where := fmt.Sprintf("//line %s:%d\n", filepath.Join(root, "README.md"), b.line)
		if strings.HasPrefix(b.text, "package ") {
			whole = append(whole, add(fmt.Sprintf("program%d", len(whole)), where+b.text))
			continue
		}
		parts = append(parts, where+b.text)
	}
	require.NotEmpty(t, whole)
	require.GreaterOrEqual(t, len(parts), 10)

	text := "package main\n" + strings.Join(parts, "")
	file, err := parser.ParseFile(token.NewFileSet(), "README.md", text, parser.SkipObjectResolution)
	require.NoError(t, err)
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if ok && f.Recv == nil && len(f.Type.Params.List) == 0 && f.Type.Results != nil && strings.Contains(text[f.Type.Results.Pos()-1:f.Type.Results.End()-1], "http.Handler, error") {
			handlers = append(handlers, fmt.Sprintf("%q: %s", f.Name.Name, f.Name.Name))
		}
	}
	require.GreaterOrEqual(t, len(handlers), 10)
	last := "//line generated.go:1\nfunc main() {\n" +
		"for name, make := range map[string]func() (http.Handler, error){" + strings.Join(handlers, ", ") + "} {\n" +
		"if h, err := make(); err != nil || h == nil {\nlog.Fatalf(\"%s: %v\", name, err)\n}\n}\n}\n"
	together := add("together", "package main\n"+imports(t, text+last)+strings.Join(parts, "")+last)

	list, err := json.Marshal(map[string]any{"Replace": overlay})
	require.NoError(t, err)
	replace := filepath.Join(tmp, "overlay.json")
	require.NoError(t, os.WriteFile(replace, list, 0o644))
	bin := filepath.Join(tmp, "bin")
	build := exec.Command("go", append([]string{"build", "-overlay", replace, "-o", bin + string(filepath.Separator), together}, whole...)...)
	build.Dir = root
	out, err := build.CombinedOutput()
	require.NoError(t, err, "go build: %s", out)
	called := exec.Command(filepath.Join(bin, "together"))
	called.Dir = tmp
	out, err = called.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// imports are those that a text without them needs.
func imports(t *testing.T, text string) string {
	file, err := parser.ParseFile(token.NewFileSet(), "README.md", text, 0)
	require.NoError(t, err)
	unresolved := make(map[*ast.Ident]bool)
	for _, id := range file.Unresolved {
		unresolved[id] = true
	}
	var lines []string
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := s.X.(*ast.Ident); ok && unresolved[id] {
				path, known := readmePackages[id.Name]
				require.True(t, known, "%s is no package that readmePackages has", id.Name)
				if path == "" {
					path = id.Name
				}
				lines = append(lines, fmt.Sprintf("import %q\n", path))
			}
		}
		return true
	})
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "")
}

// TestREADMELinks: what the README leads to is there, and every configuration
// in conf and every example is mentioned.
func TestREADMELinks(t *testing.T) {
	text, _ := readmeBlocks(t)
	linked := make(map[string]bool)
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`).FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		linked[m[1]] = true
		_, err := os.Stat(filepath.Join("../../..", m[1]))
		require.NoError(t, err)
	}
	confs, err := filepath.Glob("../conf/*.conf")
	require.NoError(t, err)
	for _, c := range confs {
		require.True(t, linked["examples/httpd/"+strings.TrimPrefix(filepath.ToSlash(c), "../")], "README.md does not lead to %s", c)
	}
	mains, err := filepath.Glob("../../*/main.go")
	require.NoError(t, err)
	for _, m := range mains {
		require.True(t, linked["examples/"+filepath.Base(filepath.Dir(m))], "README.md does not lead to %s", m)
	}
}

// TestExamplesFitAPage: so does the README say. This one and bench are tools.
func TestExamplesFitAPage(t *testing.T) {
	mains, err := filepath.Glob("../../*/main.go")
	require.NoError(t, err)
	require.Greater(t, len(mains), 10)
	for _, m := range mains {
		tests, err := filepath.Glob(filepath.Join(filepath.Dir(m), "*_test.go"))
		require.NoError(t, err)
		require.NotEmpty(t, tests, "%s has no test", m)
		b, err := os.ReadFile(m)
		require.NoError(t, err)
		if name := filepath.Base(filepath.Dir(m)); name != "httpd" && name != "bench" {
			require.LessOrEqual(t, bytes.Count(b, []byte("\n")), 80, "%s is longer than a page", m)
		}
	}
}
