package scgi_test

import (
	"fmt"
	"net/http/httptest"
	"net/url"

	"github.com/modproxy/modproxy/fcgi/scgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// ProxyPass /shop/ unix:/run/shop.sock|scgi://shop/
func ExampleTransport() {
	b, err := backend.Parse("unix:/run/shop.sock|scgi://shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	h := &proxy.Handler{
		Prefix: "/shop/", Target: &url.URL{Scheme: "scgi", Host: "shop", Path: "/"},
		Transport: &scgi.Transport{Backend: b},
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://www.example.com/shop/cart", nil))
	fmt.Println(w.Code) // there is no application here
	// Output: 503
}
