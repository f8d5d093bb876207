package zerovalues

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	module = "github.com/modproxy/modproxy"
	root   = "../../.."
	table  = "table_test.go"
	inside = "ZEROVALUES_TABLE" // in the environment where the table is full
)

// TestWithFullTable runs the tests of this package again, with the table of all
// that the packages export as it is now.
func TestWithFullTable(t *testing.T) {
	if os.Getenv(inside) != "" {
		return // this is that run
	}
	dir := t.TempDir()
	full := filepath.Join(dir, table)
	require.NoError(t, os.WriteFile(full, exportedSource(t), 0o600))
	here, err := filepath.Abs(table)
	require.NoError(t, err)
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {here: full}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	run := exec.CommandContext(ctx, "go", "test", "-count=1", "-overlay", filepath.Join(dir, "overlay.json"), ".")
	run.Env = append(os.Environ(), inside+"=1")
	out, err := run.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// exportedSource returns a table of the types and functions of all packages that
// others can import.
func exportedSource(t *testing.T) []byte {
	var imports, types, functions []string
	for _, dir := range packages(t) {
		name, ts, fs := exports(t, dir)
		if len(ts)+len(fs) == 0 {
			continue
		}
		imports = append(imports, fmt.Sprintf("%q", path.Join(module, filepath.ToSlash(dir))))
		for _, n := range ts {
			types = append(types, fmt.Sprintf("reflect.TypeFor[%s.%s](),", name, n))
		}
		for _, n := range fs {
			functions = append(functions, fmt.Sprintf("%q: %s.%s,", name+"."+n, name, n))
		}
	}
	text := "package zerovalues\n\nimport (\n\"reflect\"\n\n" +
		strings.Join(imports, "\n") + "\n)\n\nvar exportedTypes = []reflect.Type{\n" + strings.Join(types, "\n") +
		"\n}\n\nvar exportedFunctions = map[string]any{\n" + strings.Join(functions, "\n") + "\n}\n"
	out, err := format.Source([]byte(text))
	require.NoError(t, err, text)
	return out
}

// packages are the directories with a package that is neither internal nor a
// program.
func packages(t *testing.T) (dirs []string) {
	require.NoError(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		switch name := d.Name(); {
		case p == root:
		case name[0] == '.' || name == "internal" || name == "testdata" || name == "examples":
			return filepath.SkipDir
		default:
			rel, _ := filepath.Rel(root, p)
			dirs = append(dirs, rel)
		}
		return nil
	}))
	return dirs
}

// exports returns the name of a package, and those of its types and functions
// that are not generic.
func exports(t *testing.T, dir string) (name string, types, functions []string) {
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		f, err := parser.ParseFile(token.NewFileSet(), file, bytes.NewReader(text), parser.SkipObjectResolution)
		require.NoError(t, err)
		name = f.Name.Name
		for _, decl := range f.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.IsExported() && d.Type.TypeParams == nil && !slices.Contains(functions, d.Name.Name) {
					functions = append(functions, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if s, ok := spec.(*ast.TypeSpec); ok && s.Name.IsExported() && s.TypeParams == nil {
						types = append(types, s.Name.Name)
					}
				}
			}
		}
	}
	slices.Sort(types)
	slices.Sort(functions)
	return name, slices.Compact(types), functions
}
