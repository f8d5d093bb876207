package halfclose_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/modproxy/modproxy/proxy/halfclose"
)

// A client says all it has to say, and waits.
func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "hello")
		}),
	}
	defer server.Close()
	go func() { _ = server.Serve(&halfclose.Listener{Listener: ln}) }()

	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	_, _ = io.WriteString(client, "GET / HTTP/1.0\r\n\r\n")
	_ = client.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(client)
	fmt.Println(strings.HasSuffix(string(answer), "hello"), err)
	// Output: true <nil>
}
