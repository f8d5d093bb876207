package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"

	"github.com/modproxy/modproxy/proxy"
)

// Rules by host, method, header and query, and a list that is read anew while
// it serves.
func ExampleRule() {
	say := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, text) })
	}
	var mux proxy.Mux
	ask := func(method, target, channel string) {
		r := httptest.NewRequest(method, target, nil)
		r.Header.Set("X-Channel", channel)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Print(w.Body)
	}

	mux.Add(proxy.Rule{
		Hosts:   []string{"shop.example", "*.shop.example"},
		Path:    "/app/",
		Header:  []proxy.Condition{{Name: "X-Channel", Values: []string{"beta"}}},
		Query:   []proxy.Condition{{Name: "v", Match: regexp.MustCompile(`^2\.`)}},
		Handler: say("new application"),
	})
	mux.Handle("shop.example/app/", say("application"))
	mux.Handle("GET /", say("pages"))
	ask("GET", "http://shop.example:8080/app/x?v=2.1", "beta")
	ask("GET", "http://shop.example/app/x?v=1.9", "beta")
	ask("GET", "http://other.example/app/x", "")
	ask("POST", "http://other.example/app/x", "")

	if err := mux.Replace(proxy.Rule{Handler: say("closed")}); err != nil {
		fmt.Println(err)
	}
	ask("GET", "http://shop.example/", "")
	// Output:
	// new application
	// application
	// pages
	// 405 Method Not Allowed
	// closed
}

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
