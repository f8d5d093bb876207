package uwsgi_test

import (
	"fmt"
	"net/http/httptest"
	"net/url"

	"github.com/modproxy/modproxy/fcgi/uwsgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// ProxyPass /shop/ unix:/run/shop.sock|uwsgi://shop/
func ExampleTransport() {
	b, err := backend.Parse("unix:/run/shop.sock|uwsgi://shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	h := &proxy.Handler{
		Prefix: "/shop/", Target: &url.URL{Scheme: "uwsgi", Host: "shop", Path: "/"},
		Transport: &uwsgi.Transport{Backend: b},
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://www.example.com/shop/cart", nil))
	fmt.Println(w.Code) // there is no application here
	// Output: 503
}
