package apache

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// arrangements are virtual hosts, each as its addresses, its ServerName or "-", and
// its ServerAlias if there is one, and which of them, by their number, or which
// server answers: to 127.0.0.1, with the name first.test, second.test, apache.test
// or localhost, and to 127.0.0.2 with the first two.
var arrangements = []struct {
	name   string
	hosts  []string
	served string
}{
	{"any port before one", []string{"*:* first.test", "*:PORT second.test"}, "2222 22"},
	{"any port behind one", []string{"*:PORT second.test", "* first.test"}, "1111 11"},
	{"any port around one", []string{"*:* first.test", "*:PORT second.test", "* third.test", "*:PORT first.test"}, "4222 42"},
	{"another port, and any", []string{"*:1 first.test", "*:* second.test"}, "2222 22"},
	{"an IP before IP and port", []string{"127.0.0.1 first.test", "127.0.0.1:PORT second.test", "* third.test"}, "2222 33"},
	{"an IP behind IP and port", []string{"127.0.0.1:PORT second.test", "127.0.0.1:* first.test", "*:PORT third.test"}, "1111 33"},
	{"an IP before a port", []string{"*:PORT first.test", "127.0.0.1 second.test"}, "2222 11"},
	{"another port of an IP", []string{"127.0.0.1:1 first.test", "*:PORT second.test"}, "2222 22"},
	{"_default_ is any", []string{"_default_:PORT second.test", "*:PORT first.test"}, "2111 21"},
	{"two addresses", []string{"*:PORT 127.0.0.1:PORT third.test", "*:PORT second.test"}, "1111 12"},
	{"none there", []string{"127.0.0.1:PORT first.test"}, "1111 00"},
	{"a name as address", []string{"127.0.0.1:PORT first.test", "localhost:PORT -"}, "1112 00"},
	{"a name as address, and another", []string{"127.0.0.1:PORT first.test", "localhost:PORT second.test"}, "1212 00"},
	{"the server's name", []string{"*:PORT first.test", "*:PORT -"}, "1121 11"},
	{"an alias without a name", []string{"*:PORT first.test", "*:PORT - second.*"}, "1221 12"},
}

// TestVirtualHosts compares with the real httpd which virtual host answers, and how
// it is called.
func TestVirtualHosts(t *testing.T) {
	for _, a := range arrangements {
		t.Run(a.name, func(t *testing.T) {
			var text strings.Builder
			text.WriteString("Listen 127.0.0.1:${PORT}\nListen 127.0.0.2:${PORT}\nUseCanonicalName On\nRedirect / /\nHeader always set X-Host 0\n")
			for i, h := range a.hosts {
				words := strings.Fields(strings.ReplaceAll(h, "PORT", "${PORT}"))
				n := 1
				for n < len(words) && (strings.ContainsAny(words[n], "$*") && n == 1) {
					n++
				}
				fmt.Fprintf(&text, "<VirtualHost %s>\nHeader always set X-Host %d\n", strings.Join(words[:n], " "), i+1)
				if words[n] != "-" {
					fmt.Fprintf(&text, "ServerName %s\n", words[n])
				}
				if n+1 < len(words) {
					fmt.Fprintf(&text, "ServerAlias %s\n", words[n+1])
				}
				text.WriteString("</VirtualHost>\n")
			}
			ours := start(t, "ServerName apache.test\n"+text.String(), echo, "-D", "PORT=8080", "-listen", "127.0.0.1:8080=127.0.0.1:0", "-listen", "127.0.0.2:8080=127.0.0.2:0")
			mine, served := arrived(t, func(ip string) string { return ours.server.addresses()[ip+":8080"] })
			require.Equal(t, a.served, served)
			httpd := programs.HTTPD(t, "headers alias", text.String())
			_, port, err := net.SplitHostPort(httpd.Addr)
			require.NoError(t, err)
			theirs, _ := arrived(t, func(ip string) string { return net.JoinHostPort(ip, port) })
			require.Equal(t, theirs, strings.ReplaceAll(mine, ":8080", ":"+port))
		})
	}
}

// arrived asks a server by each address and name.
func arrived(t *testing.T, addr func(ip string) string) (lines, served string) {
	for _, to := range []string{"127.0.0.1 first.test", "127.0.0.1 second.test", "127.0.0.1 apache.test", "127.0.0.1 localhost", "127.0.0.2 first.test", "127.0.0.2 second.test"} {
		ip, name, _ := strings.Cut(to, " ")
		if strings.HasPrefix(to, "127.0.0.2 f") {
			served += " "
		}
		line := to + ":"
		for _, l := range ask(t, addr(ip), "GET / HTTP/1.1\r\nHost: "+name+"\r\nConnection: close\r\n\r\n") {
			number, ok := strings.CutPrefix(l, "< x-host: ")
			if ok {
				served += number
			}
			if ok || strings.HasPrefix(l, "< location: ") {
				line += " " + strings.TrimPrefix(l, "< ")
			}
		}
		lines += line + "\n"
	}
	return lines, served
}
