package proxy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// longest is the number of lines that a file may have: more does not fit one
// subject, nor the head of who reads it.
const longest = 500

// size is how large a room may become: files without tests, and exported names,
// methods and fields not counted.
type size struct{ files, names int }

// sizes are those of the rooms today, with some space. Who needs more has one of
// two reasons: the room has got a second subject, which wants a room of its own,
// or the subject has grown, which is said in the commit that raises the number.
// What only one package needs lies in a room of its own below it, and counts
// least; what everybody imports has the fewest names.
var sizes = map[string]size{
	"proxy":                       {47, 36},  // the most subjects that a user meets at once
	"proxy/backend":               {25, 54},  // whom a connection serves is a word of its own
	"proxy/exchange":              {28, 113}, // what six transports share: the widest on purpose, so that no other is; what a number means is one thing more
	"proxy/exchange/exchangetest": {10, 8},
	"proxy/tunnel":                {14, 10},
	"proxy/access":                {16, 25},
	"proxy/accesslog":             {6, 8}, // a format has directives and times
	"proxy/graceful":              {2, 2},
	"proxy/mirror":                {3, 5},
	"proxy/buffer":                {5, 9},
	"proxy/proxyprotocol":         {6, 14},
	"proxy/halfclose":             {5, 2},
	"proxy/breaker":               {5, 13}, // six of them are defaults
	"proxy/parsertest":            {5, 3},
	"proxy/internal/clientaddr":   {3, 8},  // what RemoteAddr says, and what Forwarded does
	"proxy/internal/contextkey":   {2, 10}, // the facts, and the user
	"proxy/internal/copybuf":      {2, 4},
	"proxy/internal/http1":        {5, 22},
	"proxy/internal/observation":  {3, 5},
	"proxy/internal/syntax":       {2, 12},
	"proxy/internal/tempfile":     {2, 3},
	"proxy/internal/zerovalues":   {1, 0},
	"balancer":                    {36, 68}, // a method is a file, and an exported type
	"balancer/balancertest":       {3, 5},
	"balancer/manager":            {8, 4},
	"fcgi":                        {19, 22},
	"fcgi/uwsgi":                  {3, 1},
	"fcgi/scgi":                   {3, 1},
	"fcgi/internal/cgi":           {5, 21}, // what three protocols share
	"fcgi/internal/single":        {3, 6},
	"ajp":                         {18, 18},
	"wstunnel":                    {14, 11},
	"connect":                     {10, 12},
	"ftpproxy":                    {24, 8},
	"cache":                       {26, 20},
	"cache/store":                 {8, 16},
	"cache/memory":                {6, 3},
	"cache/disk":                  {20, 3},
	"cache/tiered":                {3, 3},
	"cache/internal/rfc9111":      {21, 80}, // for the engine alone
	"cache/cachetest":             {7, 4},
}

// TestSizesOfRooms: a room that only grows is how two packages came to hold half
// of the house.
func TestSizesOfRooms(t *testing.T) {
	got := readSizes(t, "..")
	require.Greater(t, len(got), 20)
	for name, is := range got {
		may, known := sizes[name]
		require.True(t, known, "%s is a room without a size: %+v", name, is)
		require.LessOrEqual(t, is.files, may.files, "%s: files", name)
		require.LessOrEqual(t, is.names, may.names, "%s: exported names", name)
	}
	for name := range sizes {
		require.Contains(t, got, name, "there is no such room any more")
	}
}

// readSizes measures the packages of the library below root, and fails for files
// that are too long.
func readSizes(t *testing.T, root string) map[string]size {
	got := make(map[string]size)
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && (name[0] == '.' || name == "testdata" || name == "examples") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if lines := strings.Count(string(text), "\n"); lines > longest {
			t.Errorf("%s has %d lines", path, lines)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		s := got[name]
		s.files++
		for _, decl := range file.Decls {
			s.names += exported(decl)
		}
		got[name] = s
		return nil
	}))
	return got
}

// exported counts the names that a declaration gives to other packages.
func exported(decl ast.Decl) (n int) {
	var names []*ast.Ident
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name)
			case *ast.ValueSpec:
				names = append(names, s.Names...)
			}
		}
	}
	for _, name := range names {
		if name.IsExported() {
			n++
		}
	}
	return n
}
