package access_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/modproxy/modproxy/proxy/access"
)

// serve sends one request through a handler.
func serve(h http.Handler, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	r.RemoteAddr = "192.0.2.7:4711"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Require ip 192.0.2.0/24
func ExampleRequireIP() {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	inside := access.RequireIP(netip.MustParsePrefix("192.0.2.0/24"))(hello)
	outside := access.RequireIP(netip.MustParsePrefix("10.0.0.0/8"))(hello)
	fmt.Println(serve(inside, "/").Code, serve(outside, "/").Code)
	// Output: 200 403
}
