package connect_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"

	netproxy "golang.org/x/net/proxy"

	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
)

// A forward proxy for plain requests and for tunnels: ProxyRequests On,
// AllowCONNECT 443, <Proxy *> Require ip 127.0.0.0/8 </Proxy>.
func Example() {
	f := &proxy.Forward{
		Clients:      &access.Clients{Access: &access.Access{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}},
		Destinations: &access.Destinations{DenyHosts: []string{".ads.example"}},
	}
	h := &connect.Handler{DialContext: f.DialContext}
	f.Connect = h
	if err := f.Validate(); err != nil {
		fmt.Println(err)
		return
	}
	front := httptest.NewServer(f)
	defer front.Close()
	defer h.Shutdown(context.Background())

	for _, target := range []string{"www.ads.example:443", "169.254.169.254:443", "www.example.com:25"} {
		c, err := net.Dial("tcp", front.Listener.Addr().String())
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", target)
		status, _ := bufio.NewReader(c).ReadString('\n')
		fmt.Println(target, strings.TrimSpace(status))
		_ = c.Close()
	}
	// Output:
	// www.ads.example:443 HTTP/1.1 403 Forbidden
	// 169.254.169.254:443 HTTP/1.1 403 Forbidden
	// www.example.com:25 HTTP/1.1 403 Forbidden
}

// newEcho is a destination that sends back what it gets.
func newEcho() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l
}

// newParent is a proxy that lets everybody go everywhere.
func newParent() *httptest.Server {
	return httptest.NewServer(&connect.Handler{
		Clients:      &access.Clients{Access: &access.Access{}},
		Ports:        []access.PortRange{{First: 1, Last: 65535}},
		Destinations: &access.Destinations{AllowPrivate: true},
	})
}

// say sends a line and prints what comes back.
func say(c net.Conn, line string) {
	fmt.Fprintln(c, line)
	got, err := bufio.NewReader(c).ReadString('\n')
	fmt.Print(got)
	if err != nil {
		fmt.Println(err)
	}
	_ = c.Close()
}

// Any client can go through a parent proxy, and through two.
func ExampleDialer() {
	echo, first, second := newEcho(), newParent(), newParent()
	defer echo.Close()
	defer first.Close()
	defer second.Close()

	toFirst, _ := url.Parse(first.URL) // http://user:password@host:port would bring credentials
	toSecond, _ := url.Parse(second.URL)
	one := &connect.Dialer{Proxy: toFirst}
	two := &connect.Dialer{Proxy: toSecond, DialParent: one.DialContext}
	for _, d := range []*connect.Dialer{one, two} {
		c, err := d.DialContext(context.Background(), "tcp", echo.Addr().String())
		if err != nil {
			fmt.Println(err)
			return
		}
		say(c, "hello")
	}
	// Output:
	// hello
	// hello
}

// ProxyRemote * http://parent:3128 for the requests of a forward proxy.
func ExampleNewRemote() {
	parent, err := connect.NewRemote("*", "http://alice:secret@parent.example:3128")
	if err != nil {
		fmt.Println(err)
		return
	}
	f := &proxy.Forward{
		Clients: &access.Clients{Access: &access.Access{}},
		Remotes: []access.Remote{parent},
		NoProxy: []string{".intranet.example", "10.0.0.0/8"},
	}
	f.Connect = &connect.Handler{DialContext: f.DialContext}
	fmt.Println(f.Validate())
	// Output:
	// <nil>
}

// The destinations of a forward proxy can be reached by SOCKS5, with the dialer
// of golang.org/x/net/proxy.
func ExampleHandler_socks5() {
	echo, socks := newEcho(), newSOCKS5()
	defer echo.Close()
	defer socks.Close()

	dialer, err := netproxy.SOCKS5("tcp", socks.Addr().String(), nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	h := &connect.Handler{
		Clients:      &access.Clients{Access: &access.Access{}},
		Ports:        []access.PortRange{{First: 1, Last: 65535}},
		Destinations: &access.Destinations{AllowPrivate: true},
		DialContext:  dialer.(netproxy.ContextDialer).DialContext,
	}
	front := httptest.NewServer(http.Handler(h))
	defer front.Close()
	defer h.Shutdown(context.Background())

	toFront, _ := url.Parse(front.URL)
	c, err := (&connect.Dialer{Proxy: toFront}).Dial("tcp", echo.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	say(c, "hello by SOCKS5")
	// Output:
	// hello by SOCKS5
}

// newSOCKS5 is a SOCKS5 server (RFC 1928) without authentication, for CONNECT
// to IPv4 addresses.
func newSOCKS5() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveSOCKS5(c)
		}
	}()
	return l
}

func serveSOCKS5(c net.Conn) {
	defer c.Close()
	var hello [2]byte
	if _, err := io.ReadFull(c, hello[:]); err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, c, int64(hello[1])); err != nil {
		return
	}
	_, _ = c.Write([]byte{5, 0})
	var request [10]byte // VER CMD RSV ATYP address port
	if _, err := io.ReadFull(c, request[:]); err != nil {
		return
	}
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(request[4:8])), binary.BigEndian.Uint16(request[8:]))
	back, err := net.Dial("tcp", to.String())
	if err != nil {
		return
	}
	defer back.Close()
	_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	go func() {
		_, _ = io.Copy(back, c)
		_ = back.Close()
	}()
	_, _ = io.Copy(c, back)
}
