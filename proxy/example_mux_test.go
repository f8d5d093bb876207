package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"

	"github.com/modproxy/modproxy/proxy"
)

// Two backends, a directory between them that is served here, and a file type
// that is never forwarded.
func ExampleMux() {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "app got ", r.RequestURI)
	}))
	defer app.Close()

	mux := &proxy.Mux{Next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "here: ", r.URL.Path)
	})}
	mux.Except("/app/static")                         // ProxyPass /app/static !
	mux.ExceptMatch(regexp.MustCompile(`\.(?i)gif$`)) // ProxyPassMatch \.(?i)gif$ !
	if _, err := mux.ProxyPass("/app/", app.URL+"/v1/"); err != nil {
		fmt.Println(err)
	}
	if _, err := mux.ProxyPassMatch(`^/user/([a-z]+)$`, app.URL+"/v1/users/$1/home"); err != nil {
		fmt.Println(err)
	}

	for _, target := range []string{"/app/a%20b?q=1", "/app//static/x.css", "/app/logo.GIF", "/user/eva", "/"} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		fmt.Println(w.Body)
	}
	// Output:
	// app got /v1/a%20b?q=1
	// here: /app//static/x.css
	// here: /app/logo.GIF
	// app got /v1/users/eva/home
	// here: /
}
