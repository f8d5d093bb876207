package accesslog_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/modproxy/modproxy/proxy/accesslog"
)

// serve sends one request through a handler.
func serve(h http.Handler, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	r.RemoteAddr = "192.0.2.7:4711"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// LogFormat and CustomLog.
func ExampleNew() {
	log, err := accesslog.New(os.Stdout, `%h "%r" %>s %b`)
	if err != nil {
		fmt.Println(err)
		return
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	serve(log.Wrap(hello), "/a?b")
	// Output: 192.0.2.7 "GET /a?b HTTP/1.1" 200 5
}
