package rewrite_test

import (
	"fmt"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/rewrite"
)

// server is one that knows nothing of its requests.
type server struct{ rewrite.Server }

func Example() {
	rule, err := rewrite.ParseRule([]string{`^/old/(.*)$`, `/new/$1?from=old`, `[QSA,L]`}, nil)
	if err != nil {
		panic(err)
	}
	set := &rewrite.Set{Rules: []*rewrite.Rule{rule}}
	got := set.Apply(&rewrite.State{Server: server{}, File: "/old/page", Query: "a=b"})
	fmt.Println(got.Target, got.Query)
	// Output: /new/page from=old&a=b
}
