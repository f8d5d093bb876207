package main

import (
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/internal/conf"
)

// demonstration is the configuration that is served when no file is named.
// ${A}, ${B} and ${C} are three backends that the program starts itself.
const demonstration = `
Listen 80
ServerName demo.localhost
ProxyVia On
ProxyPass        /one/   http://${A}/
ProxyPassReverse /one/   http://${A}/
ProxyPass        /two/   http://${B}/ upgrade=ANY
ProxyPassReverse /two/   http://${B}/
ProxyPass        /three/ http://${C}/
ProxyPassReverse /three/ http://${C}/
<Location /server-status>
    SetHandler server-status
    Require local
</Location>
ProxyPass /server-status !
ProxyPass / http://${START}/
`

// startDemonstration starts the backends and returns the configuration, and
// what stops them.
func startDemonstration(opt options, log *slog.Logger) (*builder, func(), error) {
	var servers []*http.Server
	stop := func() {
		for _, s := range servers {
			_ = s.Close()
		}
	}
	defines := make(map[string]string)
	for _, one := range []struct {
		name string
		h    http.Handler
	}{{"A", tinyBackend("one")}, {"B", tinyBackend("two")}, {"C", tinyBackend("three")}, {"START", http.HandlerFunc(startPage)}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			stop()
			return nil, nil, err
		}
		s := &http.Server{Handler: one.h, ReadHeaderTimeout: 10 * time.Second}
		servers = append(servers, s)
		go func() { _ = s.Serve(l) }()
		defines[one.name] = l.Addr().String()
	}
	list, err := conf.Parse(strings.NewReader(demonstration), "demonstration", conf.Options{Defines: defines})
	if err != nil {
		stop()
		return nil, nil, err
	}
	if opt.listen["80"] == "" {
		opt.listen = map[string]string{"80": "127.0.0.1:0"}
	}
	b, err := build(list, opt, func(err error) { log.Warn(err.Error()) })
	if err != nil {
		stop()
		return nil, nil, err
	}
	return b, stop, nil
}

// tinyBackend shows what reaches a backend, and redirects from /go.
func tinyBackend(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/go" {
			http.Redirect(w, r, "http://"+r.Host+"/there", http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "backend %s got\n\n%s %s %s\nHost: %s\n", name, r.Method, r.RequestURI, r.Proto, r.Host)
		_ = r.Header.Write(w)
		_, _ = io.Copy(io.Discard, r.Body)
	})
}

func startPage(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>modproxy</title><h1>modproxy</h1>
<p>Three backends behind one proxy, at %s.</p><ul>
<li><a href="/one/">/one/</a>, <a href="/two/">/two/</a>, <a href="/three/">/three/</a>: what each backend is sent
<li><a href="/one/go">/one/go</a>: a redirect of the backend, mapped back
<li><a href="/server-status">/server-status</a>: connections and counts</ul></html>
`, html.EscapeString(r.Header.Get("X-Forwarded-Host")))
}
