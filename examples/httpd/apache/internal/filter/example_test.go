package filter_test

import (
	"fmt"
	"io"
	"os"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/filter"
)

// stdout is a client.
type stdout struct{ io.Writer }

func (stdout) Flush() error { return nil }

func Example() {
	s, err := filter.ParseSubstitution("s|http://internal.test|https://www.example.com|n")
	if err != nil {
		panic(err)
	}
	f := filter.Substitute(stdout{os.Stdout}, []*filter.Substitution{s}, filter.DefaultMaxLine)
	fmt.Fprintln(f, `<a href="http://internal.test/">here</a>`)
	if err := f.Close(); err != nil {
		panic(err)
	}
	// Output: <a href="https://www.example.com/">here</a>
}
