package apache

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// FuzzBuild: no configuration makes the program panic, and each error of a
// directive says where it stands.
func FuzzBuild(f *testing.F) {
	names, _ := filepath.Glob("../conf/*.conf")
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	modules := newModules(table())
	f.Fuzz(func(t *testing.T, text string) {
		lower := strings.ToLower(text)
		for _, word := range []string{"include", "file", "path", "list", "block"} { // they open files, or look up names
			if strings.Contains(lower, word) {
				return
			}
		}
		list, err := conf.Parse(strings.NewReader(text), "x.conf", conf.Options{HasModule: modules.has, Version: Version, Getenv: func(string) (string, bool) { return "", false }})
		if err != nil && !errors.As(err, new(conf.Errors)) {
			return
		}
		b, err := build(list, options{Options: Options{Listen: map[string]string{"80": ""}}}, func(error) {})
		var at *conf.Error
		if err != nil {
			if !errors.As(err, &at) || at.Line < 1 {
				t.Fatalf("error without a place: %v", err)
			}
		}
		for _, s := range append([]*scope{b.main}, b.vhosts...) {
			s.accessLogs.list, s.settings.errorLog = nil, "" // they would be opened
		}
		st, err := newGeneration(b, &logFiles{stdout: io.Discard, stderr: io.Discard}, nil, nil)
		if err == nil {
			st.close()
		}
	})
}
