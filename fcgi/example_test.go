package fcgi_test

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	childfcgi "net/http/fcgi"
	"net/http/httptest"

	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// application is any FastCGI application.
func application() (addr string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		_ = childfcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s runs %s", r.Method, childfcgi.ProcessEnv(r)["SCRIPT_FILENAME"])
		}))
	}()
	return l.Addr().String(), func() { _ = l.Close() }
}

// An http.Client needs no server around it.
func ExampleTransport() {
	addr, stop := application()
	defer stop()
	t := &fcgi.Transport{}
	defer t.CloseIdleConnections()
	client := &http.Client{Transport: t}
	resp, err := client.Get("fcgi://" + addr + "/srv/www/a.php?q=1")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(string(body))
	// Output: GET runs /srv/www/a.php
}

// ProxyPassMatch ^/(.*\.php(/.*)?)$ fcgi://127.0.0.1:9000/var/www/html/$1
func ExampleTransport_proxyPassMatch() {
	addr, stop := application()
	defer stop()
	h, err := proxy.NewMatchHandler(`^/(.*\.php(/.*)?)$`, "fcgi://127.0.0.1:9000/var/www/html/$1")
	if err != nil {
		log.Fatal(err)
	}
	b, err := backend.Parse("fcgi://" + addr) // or "unix:/run/php/php-fpm.sock|fcgi://localhost"
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	h.Transport = &fcgi.Transport{Backend: b}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://www.example.com/blog/a.php", nil))
	fmt.Println(w.Body)
	// Output: GET runs /var/www/html/blog/a.php
}
