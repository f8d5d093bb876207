package buffer_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/buffer"
)

// The one connection to a backend serves two clients at a time, since the first has
// not taken its answer yet.
func Example() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat(r.URL.Path[1:], 200_000))
	}))
	defer origin.Close()
	b, err := backend.Parse(origin.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	b.MaxConns = 1
	t := &buffer.Transport{Next: &proxy.Transport{Backend: b}}
	defer t.CloseIdleConnections()
	c := http.Client{Transport: t}

	slow, err := c.Get(origin.URL + "/slow")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer slow.Body.Close()
	quick, err := c.Get(origin.URL + "/quick")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer quick.Body.Close()
	for _, resp := range []*http.Response{quick, slow} {
		n, err := io.Copy(io.Discard, resp.Body)
		fmt.Println(n, err)
	}
	// Output:
	// 1000000 <nil>
	// 800000 <nil>
}
