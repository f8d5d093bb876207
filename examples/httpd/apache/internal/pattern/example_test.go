package pattern_test

import (
	"fmt"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
)

func Example() {
	p, err := pattern.Compile(`^/(?!static/)(.*)$`)
	if err != nil {
		panic(err)
	}
	fmt.Println(p.MatchString("/static/logo.png"))
	fmt.Println(p.FindStringSubmatch("/news")[1])
	// Output:
	// false
	// news
}
