package disk_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/cache/disk"
)

// What is on the disk is there for the next process.
func ExampleStore() {
	root, err := os.MkdirTemp("", "cache")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(root)

	asked := 0
	origin := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Cache-Control", "max-age=3600")
		io.WriteString(w, "hello")
	})
	for range 2 { // two lives of a server
		disk := &disk.Store{Root: root, MaxBytes: 100 << 20}
		c := &cache.Cache{Store: disk}
		w := httptest.NewRecorder()
		c.Wrap(origin).ServeHTTP(w, httptest.NewRequest("GET", "http://example.org/", nil))
		fmt.Println(w.Body, "- the origin was asked", asked, "time(s)")
		disk.Close()
	}
	// Output:
	// hello - the origin was asked 1 time(s)
	// hello - the origin was asked 1 time(s)
}
