package breaker_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/breaker"
)

// A backend that answers 500 is left alone, and clients get a page of ours.
func Example() {
	asked := 0
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer origin.Close()
	h, err := proxy.NewHandler("/", origin.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	b := &breaker.Transport{
		MinRequests: 3,
		FailOn:      func(resp *http.Response) bool { return resp.StatusCode >= 500 },
	}
	h.Transport = b
	defer h.CloseIdleConnections()
	h.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		if errors.Is(err, breaker.ErrOpen) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "Back in a moment.")
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	}
	for range 5 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		fmt.Printf("%d %q %q\n", w.Code, w.Header().Get("Retry-After"), w.Body.String())
	}
	fmt.Println(asked, "reached the backend; the breaker is", b.Stats().State)
	// Output:
	// 500 "" ""
	// 500 "" ""
	// 500 "" ""
	// 503 "5" "Back in a moment."
	// 503 "5" "Back in a moment."
	// 3 reached the backend; the breaker is open
}
