// Command middleware is a chain of handlers, each of which knows only the next:
// an access log, a password, a cache, a balancer. Any func(http.Handler)
// http.Handler has its place in it. Without members it starts two small ones.
//
//	go run ./examples/middleware
//	curl -u me:secret http://127.0.0.1:8080/
//	curl -u you:hidden http://127.0.0.1:8080/
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/accesslog"
)

// users is a file of htpasswd, with the passwords secret and hidden.
const users = `me:$2y$05$C.vS3LP7wXeJ1qUgwMl29OJs.L4Bw9uPepu2OmJcCw6UACu1MQXAW
you:$2y$05$tv7ViG.d.BcVobkH4SCs3OAhaxBP1BmoR5Ddl.IXHARDadVkvZ/Da`

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	flag.Parse()
	members := flag.Args()
	for n := 1; flag.NArg() == 0 && n <= 2; n++ {
		members = append(members, httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=10")
			fmt.Fprintf(w, "member %d got %s from %s\n", n, r.URL.Path, r.Header.Get("X-User"))
		})).URL)
	}
	h, err := site(os.Stdout, members)
	if err == nil {
		slog.Info("listening", "url", "http://"+*listen+"/", "users", "me:secret you:hidden")
		err = (&http.Server{Addr: *listen, Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}).ListenAndServe()
	}
	slog.Error("cannot serve", "error", err)
	os.Exit(1)
}

// site is the whole chain.
func site(log io.Writer, members []string) (http.Handler, error) {
	b, badMembers := balancer.New(balancer.Config{Name: "app"}, balancer.URLs(members...)...)
	known, badUsers := access.ReadHtpasswd(strings.NewReader(users))
	logged, badFormat := accesslog.New(log, `%h %u "%r" %>s %b %{cache-status}n %{member}n %{attempts}n`)
	if err := errors.Join(badMembers, badUsers, badFormat); err != nil {
		return nil, err
	}
	auth := &access.BasicAuth{Realm: "site", Verify: known.Verify}
	// The key says who asks, so that nobody gets what is another's.
	c := &cache.Cache{Key: func(r *http.Request) string { return access.User(r.Context()) + ":" + r.Host + r.URL.RequestURI() }}
	app := &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "app", Path: "/"}, Transport: b}
	// The members are told last, when nothing of the client's can get in the way.
	// X-Forwarded-For, -Host and -Proto come as well, since it sets none of them.
	app.Rewrite = func(p *httputil.ProxyRequest) { p.Out.Header.Set("X-User", access.User(p.In.Context())) }
	return logged.Wrap(auth.Wrap(withoutPassword(c.Wrap(app)))), nil
}

// withoutPassword keeps the password from all that is behind: answers to a
// request with one are not stored.
func withoutPassword(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := r.Clone(r.Context())
		out.Header.Del("Authorization")
		next.ServeHTTP(w, out)
	})
}
