package apache

import (
	"path/filepath"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/explain"
)

// Explain returns a Go program that does with the packages of modproxy what a
// configuration says, each part under the line that it comes from: to leave the
// configuration line by line. What has no short form in Go is named in a comment;
// where that says who may come in, the program lets nobody in. The configuration is
// read, and not otherwise checked.
func Explain(file string, o Options) (string, error) {
	if o.Root == "" {
		o.Root = filepath.Dir(file)
	}
	list, err := conf.File(file, readingOptions(o.withDefaults()))
	if err != nil {
		return "", err
	}
	return explain.Program(list)
}
