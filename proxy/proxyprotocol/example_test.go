package proxyprotocol_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/modproxy/modproxy/proxy/proxyprotocol"
)

// A server behind a load balancer on the same machine sees the client's address.
func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	l := &proxyprotocol.Listener{Listener: ln, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	defer l.Close()

	balancer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer balancer.Close()
	_, _ = io.WriteString(balancer, "PROXY TCP4 192.0.2.1 198.51.100.2 4321 443\r\n")

	c, err := l.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Println(c.RemoteAddr(), "to", c.LocalAddr())
	// Output: 192.0.2.1:4321 to 198.51.100.2:443
}
