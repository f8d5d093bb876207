// Command customstore shows a store of one's own for the cache: each of two
// sites has its share of the memory. When one is busy, what the other has stored
// is still there.
//
//	go run ./examples/customstore
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy"
)

func main() {
	store := &Shares{
		Hosts: map[string]store.Store{"docs.example": &memory.Store{MaxBytes: 1 << 20}, "news.example": &memory.Store{MaxBytes: 1 << 20}},
		Rest:  &memory.Store{MaxBytes: 1 << 20},
	}
	if err := run(os.Stdout, store); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run asks for a page of one site before and after the other had many readers.
func run(out io.Writer, store store.Store) error {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		fmt.Fprint(w, strings.Repeat("a page of "+r.Host+"\n", 2000))
	}))
	defer origin.Close()
	app, err := proxy.NewHandler("/", origin.URL+"/")
	if err != nil {
		return err
	}
	app.PreserveHost = true
	transport := &proxy.Transport{}
	defer transport.CloseIdleConnections()
	app.Transport = transport
	c := &cache.Cache{Store: store, Header: true, ServerName: "cache"}
	defer c.Close()
	site := c.Wrap(app)
	ask := func(url string) string {
		w := httptest.NewRecorder()
		site.ServeHTTP(w, httptest.NewRequest("GET", url, nil))
		return fmt.Sprint(w.Code, " ", w.Header().Get("X-Cache"))
	}
	fmt.Fprintln(out, ask("http://docs.example/start"))
	fmt.Fprintln(out, ask("http://docs.example/start"))
	for n := range 200 {
		for range 2 {
			ask(fmt.Sprintf("http://news.example/%d", n))
		}
	}
	fmt.Fprintln(out, ask("http://docs.example/start"))
	return nil
}
