package main

import (
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache"
)

// demonstration is the configuration that is served when no file is named.
// ${A}, ${B} and ${C} are three backends that the program starts itself, and
// ${START} is the page that leads to them.
const demonstration = `
Listen 80
ServerName demo.localhost
ProxyVia On
<Proxy balancer://demo>
    BalancerMember http://${A} route=one   hcmethod=GET hcinterval=5
    BalancerMember http://${B} route=two   hcmethod=GET hcinterval=5
    BalancerMember http://${C} route=three hcmethod=GET hcinterval=5
    ProxySet stickysession=ROUTEID
</Proxy>
ProxyPass        /app/ balancer://demo/
ProxyPassReverse /app/ balancer://demo/
ProxyPass        /one/ http://${A}/ upgrade=ANY
ProxyPassReverse /one/ http://${A}/
<Location /login>
    ProxyPass balancer://demo/login
    Header add Set-Cookie "ROUTEID=.%{BALANCER_WORKER_ROUTE}e; path=/" env=BALANCER_ROUTE_CHANGED
</Location>
<Location /balancer-manager>
    SetHandler balancer-manager
    Require local
</Location>
<Location /server-status>
    SetHandler server-status
    Require local
</Location>
ProxyStatus On
ProxyPass /balancer-manager !
ProxyPass /server-status !
ProxyPass / http://${START}/
`

// startDemonstration starts the backends, and returns the configuration and what
// stops them.
func startDemonstration(opt *apache.Options) (text string, stop func(), err error) {
	var servers []*http.Server
	stop = func() {
		for _, s := range servers {
			_ = s.Close()
		}
	}
	opt.Define = make(map[string]string)
	for _, one := range []struct {
		name string
		h    http.Handler
	}{{"A", tinyBackend("one")}, {"B", tinyBackend("two")}, {"C", tinyBackend("three")}, {"START", http.HandlerFunc(startPage)}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			stop()
			return "", nil, err
		}
		s := &http.Server{Handler: one.h, ReadHeaderTimeout: 10 * time.Second}
		servers = append(servers, s)
		go func() { _ = s.Serve(l) }()
		opt.Define[one.name] = l.Addr().String()
	}
	if opt.Listen["80"] == "" {
		opt.Listen = map[string]string{"80": "127.0.0.1:0"}
	}
	return demonstration, stop, nil
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
<li><a href="/app/">/app/</a>: the three in turn, and what they are sent
<li><a href="/login">/login</a>: the same with a cookie, so that from now on one of them answers
<li><a href="/app/go">/app/go</a>: a redirect of a backend, mapped back
<li><a href="/one/">/one/</a>: the first backend alone
<li><a href="/balancer-manager">/balancer-manager</a>: watch the balancer and change it
<li><a href="/server-status">/server-status</a>: connections and counts</ul></html>
`, html.EscapeString(r.Header.Get("X-Forwarded-Host")))
}
