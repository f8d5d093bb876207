package parsertest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// parses is how functions are called that read what came from somewhere else.
var parses = regexp.MustCompile(`^([pP]arse|read)([A-Z]\w*)?$`)

// trusted are the packages with such functions that strangers do not reach.
var trusted = map[string]string{
	"cache/cachetest": "a kit for tests",
	"examples/bench":  "reads what the programs say that it has started",
	"proxy/backend":   "reads configurations alone",
}

// folder is what the tree has in one folder.
type folder struct {
	parsers    []string // functions
	fuzz, cost []string // tests
}

// TestTree: every package that parses has a fuzz target and a TestCost, and
// every fuzz target a corpus, which go test reads each time. No corpus is one of
// nothing.
func TestTree(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	folders := readTree(t, root)
	require.Greater(t, len(folders), 10)
	for name, f := range folders {
		for _, fault := range f.faults(name, corporaOf(t, filepath.Join(root, name))) {
			t.Error(fault)
		}
	}
	for name := range trusted {
		require.NotEmpty(t, folders[name].parsers, "%s parses nothing", name)
	}
}

// faults says what a folder lacks, given how many files each corpus in it has.
func (f folder) faults(name string, corpora map[string]int) (faults []string) {
	if len(f.parsers) > 0 && trusted[name] == "" {
		if len(f.fuzz) == 0 {
			faults = append(faults, name+" has "+f.parsers[0]+", but no fuzz target")
		}
		if len(f.cost) == 0 {
			faults = append(faults, name+" has "+f.parsers[0]+", but no TestCost")
		}
	}
	for _, target := range f.fuzz {
		if corpora[target] == 0 {
			faults = append(faults, name+": "+target+" has no corpus in testdata/fuzz")
		}
		delete(corpora, target)
	}
	for target := range corpora {
		faults = append(faults, name+": testdata/fuzz/"+target+" belongs to no fuzz target")
	}
	return faults
}

// readTree reads all Go files of the module.
func readTree(t *testing.T, root string) map[string]folder {
	folders := make(map[string]folder)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (name == "testdata" || name[0] == '.' || hasModule(path)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		f := folders[name]
		for _, decl := range file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				f.add(fn.Name.Name, strings.HasSuffix(path, "_test.go"))
			}
		}
		folders[name] = f
		return nil
	})
	require.NoError(t, err)
	return folders
}

func (f *folder) add(name string, test bool) {
	switch {
	case test && strings.HasPrefix(name, "Fuzz"):
		f.fuzz = append(f.fuzz, name)
	case test && strings.HasPrefix(name, "TestCost"):
		f.cost = append(f.cost, name)
	case !test && parses.MatchString(name):
		f.parsers = append(f.parsers, name)
	}
}

func hasModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// corporaOf counts the files of each corpus in a folder.
func corporaOf(t *testing.T, dir string) map[string]int {
	files, err := filepath.Glob(filepath.Join(dir, "testdata", "fuzz", "*", "*"))
	require.NoError(t, err)
	corpora := make(map[string]int)
	for _, file := range files {
		corpora[filepath.Base(filepath.Dir(file))]++
	}
	return corpora
}

// TestFaults: the rule itself can fail.
func TestFaults(t *testing.T) {
	var whole, bare folder
	for _, name := range []string{"parseX", "parsed", "reader"} {
		whole.add(name, false)
		bare.add(name, false)
	}
	require.Equal(t, []string{"parseX"}, whole.parsers)
	whole.add("FuzzX", true)
	whole.add("TestCostOfX", true)
	require.Empty(t, whole.faults("a", map[string]int{"FuzzX": 1}))
	require.Equal(t, []string{"a: FuzzX has no corpus in testdata/fuzz"}, whole.faults("a", nil))
	require.Equal(t, []string{"a: testdata/fuzz/FuzzY belongs to no fuzz target"}, whole.faults("a", map[string]int{"FuzzX": 1, "FuzzY": 1}))
	require.Equal(t, []string{"a has parseX, but no fuzz target", "a has parseX, but no TestCost"}, bare.faults("a", nil))
	require.Empty(t, bare.faults("proxy/backend", nil))
}
