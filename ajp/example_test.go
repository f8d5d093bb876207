package ajp_test

import (
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/proxy/access"
)

// A Go service that httpd reaches by "ProxyPass /app/ ajp://127.0.0.1:8009/
// secret=s3cret", here asked by a Transport.
func Example() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := &ajp.Server{Secret: "s3cret", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s, you asked %s for %s", access.User(r.Context()), r.Host, r.URL)
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()

	client := &http.Client{Transport: &ajp.Transport{Secret: "s3cret"}}
	r, err := http.NewRequest("GET", "ajp://"+l.Addr().String()+"/app?a=b", nil)
	if err != nil {
		panic(err)
	}
	r.Host = "www.example.com"
	resp, err := client.Do(access.WithUser(r, "ann", "Basic"))
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body))
	client.CloseIdleConnections()
	// Output: 200 OK hello ann, you asked www.example.com for /app?a=b
}
