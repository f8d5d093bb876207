package exchange_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// What failed, and what the client is told.
func ExampleError() {
	h, _ := proxy.NewHandler("/", "http://127.0.0.1:1/") // nobody listens there
	h.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		var e *exchange.Error
		if errors.As(err, &e) {
			fmt.Println(e.Op, e.Backend, e.Resend)
		}
		http.Error(w, "try again later", exchange.StatusOf(err))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println(w.Code)
	// Output:
	// dial http://127.0.0.1:1 true
	// 503
}
