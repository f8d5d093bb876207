package cache_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/modproxy/modproxy/cache"
)

// clock is an application that is asked as rarely as possible.
func clock() http.Handler {
	n := 0
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Surrogate-Key", "clock")
		fmt.Fprintf(w, "answer %d to %s", n, r.URL.Path)
	})
}

func get(h http.Handler, target string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	fmt.Println(w.Body, w.Header()["X-Cache"])
}

func ExampleCache_Wrap() {
	c := &cache.Cache{Header: true, ServerName: "edge"}
	h := c.Wrap(clock())
	get(h, "http://example.org/a")
	get(h, "http://example.org/a")
	get(h, "http://example.org/b")
	// Output:
	// answer 1 to /a [MISS from edge]
	// answer 1 to /a [HIT from edge]
	// answer 2 to /b [MISS from edge]
}

func ExampleCache_Transport() {
	origin := httptest.NewServer(clock())
	defer origin.Close()
	c := &cache.Cache{}
	client := &http.Client{Transport: c.Transport(origin.Client().Transport)}
	for range 2 {
		resp, err := client.Get(origin.URL + "/a")
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		fmt.Println(string(body))
	}
	fmt.Println(c.Stats().Hits, "hit")
	// Output:
	// answer 1 to /a
	// answer 1 to /a
	// 1 hit
}

func ExampleCache_PurgeTags() {
	c := &cache.Cache{Header: true, ServerName: "edge"}
	h := c.Wrap(clock())
	get(h, "http://example.org/a")
	get(h, "http://example.org/b")
	n, err := c.PurgeTags(context.Background(), cache.PurgeRemove, "clock")
	fmt.Println(n, err)
	get(h, "http://example.org/a")
	// Output:
	// answer 1 to /a [MISS from edge]
	// answer 2 to /b [MISS from edge]
	// 2 <nil>
	// answer 3 to /a [MISS from edge]
}

func ExampleCache_PurgeHandler() {
	c := &cache.Cache{}
	h := c.Wrap(clock())
	get(h, "http://example.org/a")
	mux := http.NewServeMux()
	mux.Handle("/", h)
	// Who may purge is for the embedder to decide.
	mux.Handle("PURGE /", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.RemoteAddr, "192.0.2.") {
			http.Error(w, "not from there", http.StatusForbidden)
			return
		}
		c.PurgeHandler().ServeHTTP(w, r)
	}))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("PURGE", "http://example.org/a", nil))
	fmt.Print(w.Body)
	// Output:
	// answer 1 to /a []
	// {"purged":1}
}

// A lifetime for one part of a site.
func ExampleCache_ttl() {
	c := &cache.Cache{
		TTL: func(r *http.Request, status int, _ http.Header) (time.Duration, bool) {
			return time.Hour, status == http.StatusOK && strings.HasPrefix(r.URL.Path, "/static/")
		},
		StatusTTL: map[int]time.Duration{http.StatusNotFound: 10 * time.Second},
	}
	h := c.Wrap(clock())
	get(h, "http://example.org/static/logo.svg")
	// Output:
	// answer 1 to /static/logo.svg []
}
