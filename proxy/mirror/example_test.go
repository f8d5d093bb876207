package mirror_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/mirror"
)

// A new version of a backend gets the requests of the old one, but for passwords.
func Example() {
	version := func(name string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _, password := r.BasicAuth()
			fmt.Fprintln(w, name, r.Method, r.URL.Path, password)
			if name == "new" {
				fmt.Println(name, r.Method, r.URL.Path, password)
			}
		}))
	}
	before, after := version("old"), version("new")
	defer before.Close()
	defer after.Close()
	h, err := proxy.NewHandler("/", before.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	to, err := backend.Parse(after.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	m := &mirror.Transport{
		To:      &proxy.Transport{Backend: to},
		Rewrite: func(copy *http.Request) { copy.Header.Del("Authorization") },
	}
	h.Transport = m
	defer h.CloseIdleConnections()

	r := httptest.NewRequest("GET", "/page", nil)
	r.SetBasicAuth("me", "secret")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	_ = m.Shutdown(context.Background())
	fmt.Print(w.Body)
	// Output:
	// new GET /page false
	// old GET /page true
}
