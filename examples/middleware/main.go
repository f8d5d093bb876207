// Command middleware is a chain of handlers, each of which knows only the next:
// an access log, a password, a balancer. Any func(http.Handler) http.Handler
// has its place in it. Without members it starts two small ones itself.
//
//	go run ./examples/middleware
//	curl -u me:secret http://127.0.0.1:8080/
package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"time"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	flag.Parse()
	members := flag.Args()
	for n := 1; flag.NArg() == 0 && n <= 2; n++ {
		members = append(members, httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "member %d got %s from %s\n", n, r.URL.Path, r.Header.Get("X-User"))
		})).URL)
	}
	h, err := site(os.Stdout, "me", "secret", members)
	if err == nil {
		slog.Info("listening", "url", "http://"+*listen+"/", "user", "me:secret")
		err = (&http.Server{Addr: *listen, Handler: h, ReadHeaderTimeout: 10 * time.Second}).ListenAndServe()
	}
	slog.Error("cannot serve", "error", err)
	os.Exit(1)
}

// site is the whole chain: the first of the list sees a request first.
func site(log io.Writer, user, password string, members []string) (http.Handler, error) {
	b, err := balancer.New(balancer.Config{Name: "app"}, balancer.URLs(members...)...)
	if err != nil {
		return nil, err
	}
	access, err := proxy.NewAccessLog(log, `%h %u "%r" %>s %b %{member}n %{attempts}n %{first-byte}n`)
	if err != nil {
		return nil, err
	}
	access.User = func(r *http.Request) string { name, _, _ := r.BasicAuth(); return name }
	app := &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "app", Path: "/"}, Transport: b}
	return chain(app, access.Wrap, authenticate(user, password)), nil
}

func chain(h http.Handler, middleware ...func(http.Handler) http.Handler) http.Handler {
	for i := len(middleware) - 1; i >= 0; i-- {
		h = middleware[i](h)
	}
	return h
}

// authenticate lets one user in, and tells the members who it is.
func authenticate(user, password string) func(http.Handler) http.Handler {
	want := sha256.Sum256([]byte(user + ":" + password)) // alike in length, whatever was sent
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name, pass, _ := r.BasicAuth()
			if got := sha256.Sum256([]byte(name + ":" + pass)); subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				w.Header().Set("WWW-Authenticate", `Basic realm="site"`)
				http.Error(w, "401 Unauthorized", http.StatusUnauthorized)
				return
			}
			out := r.Clone(r.Context())
			out.Header.Set("X-User", name) // in place of what the client says
			out.Header.Del("Authorization")
			next.ServeHTTP(w, out)
		})
	}
}
