package apache

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

const (
	announced4 = "PROXY TCP4 192.0.2.1 198.51.100.2 4321 443\r\n"
	announced6 = "PROXY TCP6 2001:db8::1 2001:db8::2 4321 443\r\n"
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
	address4   = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\xe1\x01\xbb"
	address6   = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x10\xe1\x01\xbb"
)

// announcedOn is what both servers run in TestProxyProtocol. Each address is one
// of the loopback network.
const announcedOn = `Listen 127.0.0.1:${PORT}
Listen 127.0.0.2:${PORT}
Listen 127.0.0.3:${PORT}
Listen 127.0.0.4:${PORT}
LogFormat "%U %a %h %A %{X-Real}i" seen
CustomLog ${LOG} seen
RequestReadTimeout header=1 body=20
RemoteIPHeader X-Real
RemoteIPInternalProxy 192.0.2.0/24 127.0.0.0/8
ProxyPass / http://${ORIGIN}/
<VirtualHost 127.0.0.1:${PORT}>
ServerName off.test
</VirtualHost>
<VirtualHost 127.0.0.2:${PORT}>
ServerName on.test
RemoteIPProxyProtocol On
</VirtualHost>
<VirtualHost 127.0.0.2:${PORT}>
ServerName also.test
RemoteIPProxyProtocolExceptions 127.0.0.9 127.0.1.0/24
<Location />
Require ip 192.0.2.1
</Location>
</VirtualHost>
<VirtualHost 127.0.0.3:${PORT} 127.0.0.4:${PORT}>
ServerName both.test
RemoteIPProxyProtocol On
</VirtualHost>
<VirtualHost 127.0.0.4:${PORT}>
ServerName last.test
RemoteIPProxyProtocol Off
</VirtualHost>
`

// arrival is a connection that is made from one address to another, and begins
// with something.
type arrival struct {
	from, to string
	begin    string
	host     string
	fields   string
	ours     string // where it differs from httpd: what ours does
}

// exchange connects, and returns the status and what the origin was told, or
// "closed".
func (a arrival) exchange(t *testing.T, addr, path string) string {
	from := a.from
	if from == "" {
		from = "127.0.0.1"
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	request := ""
	if path != "" {
		request = "GET " + path + " HTTP/1.1\r\nHost: " + a.host + "\r\n" + a.fields + "Connection: close\r\n\r\n"
	}
	_, err = io.WriteString(c, a.begin+request)
	require.NoError(t, err)
	answer, err := io.ReadAll(c)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	if len(answer) == 0 {
		return "closed"
	}
	line, _, _ := strings.Cut(string(answer), "\r\n")
	_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	status := strings.Fields(line)[1]
	if status != "200" {
		return status
	}
	return status + " " + body
}

// arrivals are what TestProxyProtocol compares.
var arrivals = map[string]arrival{
	"version 1":                      {to: "127.0.0.2", begin: announced4},
	"version 1, IPv6":                {to: "127.0.0.2", begin: announced6},
	"version 1, mapped":              {to: "127.0.0.2", begin: "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 4321 443\r\n", ours: "IPv4 is told as such"},
	"version 1, nobody":              {to: "127.0.0.2", begin: "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"},
	"version 1, nobody, short":       {to: "127.0.0.2", begin: "PROXY UNKNOWN\r\n", ours: "as HAProxy says"},
	"version 1, IPv6 as IPv4":        {to: "127.0.0.2", begin: "PROXY TCP4 2001:db8::1 198.51.100.2 4321 443\r\n"},
	"version 1, IPv4 as IPv6":        {to: "127.0.0.2", begin: "PROXY TCP6 192.0.2.1 2001:db8::2 4321 443\r\n"},
	"version 1, to another family":   {to: "127.0.0.2", begin: "PROXY TCP4 192.0.2.1 2001:db8::2 4321 443\r\n", ours: "is malformed"},
	"version 1, without CR":          {to: "127.0.0.2", begin: "PROXY TCP4 192.0.2.1 198.51.100.2 4321 443\n", ours: "is malformed"},
	"version 1, port too large":      {to: "127.0.0.2", begin: "PROXY TCP4 192.0.2.1 198.51.100.2 70000 443\r\n", ours: "is malformed"},
	"version 1, cut":                 {to: "127.0.0.2", begin: "PROXY TCP4 192.0.2.1\r\n"},
	"version 1, UDP":                 {to: "127.0.0.2", begin: "PROXY UDP4 192.0.2.1 198.51.100.2 70 443\r\n"},
	"version 2":                      {to: "127.0.0.2", begin: signature2 + "\x21\x11\x00\x0c" + address4},
	"version 2, IPv6":                {to: "127.0.0.2", begin: signature2 + "\x21\x21\x00\x24" + address6},
	"version 2, more facts":          {to: "127.0.0.2", begin: signature2 + "\x21\x11\x00\x11" + address4 + "\x02\x00\x02ab"},
	"version 2, local":               {to: "127.0.0.2", begin: signature2 + "\x20\x00\x00\x00"},
	"version 2, local with address":  {to: "127.0.0.2", begin: signature2 + "\x20\x11\x00\x0c" + address4},
	"version 2, no family":           {to: "127.0.0.2", begin: signature2 + "\x21\x00\x00\x00", ours: "as HAProxy says"},
	"version 2, UDP":                 {to: "127.0.0.2", begin: signature2 + "\x21\x12\x00\x0c" + address4, ours: "who the client is does not depend on it"},
	"version 2, another command":     {to: "127.0.0.2", begin: signature2 + "\x22\x11\x00\x0c" + address4},
	"version 2, another version":     {to: "127.0.0.2", begin: signature2 + "\x31\x11\x00\x0c" + address4},
	"version 2, address cut":         {to: "127.0.0.2", begin: signature2 + "\x21\x11\x00\x04\xc0\x00\x02\x01"},
	"version 2, IPv4 as IPv6":        {to: "127.0.0.2", begin: signature2 + "\x21\x21\x00\x0c" + address4},
	"none":                           {to: "127.0.0.2"},
	"malformed":                      {to: "127.0.0.2", begin: "HELLO\r\n"},
	"where it is off":                {to: "127.0.0.1", begin: announced4},
	"none, where it is off":          {to: "127.0.0.1"},
	"another host of the address":    {to: "127.0.0.2", begin: announced4, host: "also.test"},
	"another client there":           {to: "127.0.0.2", begin: announced6, host: "also.test"},
	"none, another host":             {to: "127.0.0.2", host: "also.test"},
	"the first of two addresses":     {to: "127.0.0.3", begin: announced4},
	"none, at the first of two":      {to: "127.0.0.3"},
	"an address where the last rule": {to: "127.0.0.4", begin: announced4},
	"none, where the last rule":      {to: "127.0.0.4"},
	"an exception":                   {from: "127.0.0.9", to: "127.0.0.2"},
	"an exception's header":          {from: "127.0.0.9", to: "127.0.0.2", begin: announced4},
	"an exception elsewhere":         {from: "127.0.1.7", to: "127.0.0.3"},
	"no exception":                   {from: "127.0.2.7", to: "127.0.0.3"},
	"no exception's header":          {from: "127.0.2.7", to: "127.0.0.3", begin: announced4},
	"a proxy behind it":              {to: "127.0.0.2", begin: announced4, fields: "X-Real: 203.0.113.9\r\n"},
	"a client's claim":               {to: "127.0.0.2", begin: announced6, fields: "X-Real: 203.0.113.9\r\n"},
	"an exception's proxy":           {from: "127.0.0.9", to: "127.0.0.2", fields: "X-Real: 203.0.113.9\r\n"},
	"a local check's claim":          {to: "127.0.0.2", begin: signature2 + "\x20\x00\x00\x00", fields: "X-Real: 203.0.113.9\r\n"},
}

// TestProxyProtocol compares with the real httpd what becomes of connections
// where RemoteIPProxyProtocol is on: the answer, the client that the origin is
// told, and the log.
func TestProxyProtocol(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	}))
	defer origin.Close()
	define := func(log string) string {
		return "Define ORIGIN " + origin.Listener.Addr().String() + "\nDefine LOG " + log + "\n"
	}
	theirLog := filepath.Join(programs.Folder(t), "log")
	httpd := programs.HTTPD(t, "authz_host remoteip reqtimeout proxy proxy_http", define(theirLog)+announcedOn)
	_, port, err := net.SplitHostPort(httpd.Addr)
	require.NoError(t, err)

	ourLog := filepath.Join(t.TempDir(), "log")
	args := []string{"-D", "PORT=80"}
	for _, ip := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"} {
		args = append(args, "-listen", ip+":80="+ip+":0")
	}
	ours := start(t, define(ourLog)+announcedOn, echo, args...)

	seen := make(map[string][2]string)
	var names []string
	for name, a := range arrivals {
		if a.host == "" {
			a.host = "on.test"
		}
		path := fmt.Sprintf("/%d", len(names))
		names = append(names, name)
		seen[name] = [2]string{
			a.exchange(t, net.JoinHostPort(a.to, port), path),
			a.exchange(t, ours.server.addresses()[a.to+":80"], path),
		}
	}
	slow := arrival{begin: announced4[:10]}
	require.Equal(t, "closed", slow.exchange(t, net.JoinHostPort("127.0.0.2", port), ""))
	require.Equal(t, "closed", slow.exchange(t, ours.server.addresses()["127.0.0.2:80"], ""))

	httpd.Stop()
	ours.stop()
	logs := make(map[string][2]string)
	for i, file := range []string{theirLog, ourLog} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			path, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			both := logs[path]
			both[i] += rest
			logs[path] = both
		}
	}
	for i, name := range names {
		answers, lines := seen[name], logs[fmt.Sprintf("/%d", i)]
		theirs, mine := answers[0]+"\n"+lines[0], answers[1]+"\n"+lines[1]
		if arrivals[name].ours != "" {
			require.NotEqual(t, theirs, mine, "%s is the same", name)
			continue
		}
		require.Equal(t, theirs, mine, name)
	}
	// That they agree is not all.
	for name, want := range map[string]string{
		"version 1": "200 192.0.2.1", "version 1, nobody, short": "200 127.0.0.1", "version 1, mapped": "200 192.0.2.1", "version 1, port too large": "closed", "version 2, UDP": "200 192.0.2.1",
		"version 1, without CR": "closed", "version 2, no family": "200 127.0.0.1", "none": "closed", "another client there": "403", "another host of the address": "200 192.0.2.1",
		"a proxy behind it": "200 192.0.2.1", "an exception's proxy": "200 203.0.113.9", "a client's claim": "200 2001:db8::1", "an exception": "200 127.0.0.9", "where it is off": "400",
	} {
		require.Equal(t, want, seen[name][1], name)
	}
	require.Equal(t, "192.0.2.1 192.0.2.1 127.0.0.2 -", logs[fmt.Sprintf("/%d", slices.Index(names, "version 1"))][1])
}

// TestProxyProtocolScope: for which addresses the directive holds.
func TestProxyProtocolScope(t *testing.T) {
	const (
		on  = "RemoteIPProxyProtocol On\n"
		off = "RemoteIPProxyProtocol Off\n"
	)
	at := func(address, config string) string {
		return "<VirtualHost " + address + ">\n" + config + "</VirtualHost>\n"
	}
	for name, tc := range map[string]struct {
		config string
		want   [3]bool // at 127.0.0.1:80, 127.0.0.2:80 and 127.0.0.1:81
		warn   string
	}{
		"nothing":                 {},
		"the server":              {on, [3]bool{true, true, true}, ""},
		"the server, not a host":  {on + at("*:80", off), [3]bool{false, false, true}, ""},
		"a host of all":           {at("*:*", on), [3]bool{true, true, true}, ""},
		"a host of all, *":        {at("*", on), [3]bool{true, true, true}, ""},
		"a host of all, default":  {at("_default_", on), [3]bool{true, true, true}, ""},
		"a host of a port":        {at("*:80", on), [3]bool{true, true, false}, ""},
		"a host of an address":    {at("127.0.0.1", on), [3]bool{true, false, true}, ""},
		"a host of both":          {at("127.0.0.1:80", on), [3]bool{true, false, false}, ""},
		"a host of two":           {"Listen 81\n" + at("127.0.0.1:81 127.0.0.2:80", on), [3]bool{false, true, true}, ""},
		"one less":                {at("*:80", on) + at("127.0.0.2:80", off), [3]bool{true, false, false}, ""},
		"one less, before":        {at("127.0.0.2:80", off) + at("*:80", on), [3]bool{true, false, false}, ""},
		"off covers what is on":   {at("*:80", off) + at("127.0.0.2:80", on), [3]bool{}, ""},
		"the last of one address": {at("*:80", off) + at("*:80", on), [3]bool{true, true, false}, "x.conf:6: RemoteIPProxyProtocol for *:80 takes the place of that in line 3\nx.conf:5: this <VirtualHost> is never used: it has no ServerName, as that on the same address in x.conf, line 2"},
		"the last is off":         {at("*:80", on) + at("_default_:80", off), [3]bool{}, "x.conf:6: RemoteIPProxyProtocol for _default_:80 takes the place of that in line 3\nx.conf:5: this <VirtualHost> is never used: it has no ServerName, as that on the same address in x.conf, line 2"},
	} {
		b, warnings, err := read("Listen 80\n" + tc.config)
		require.NoError(t, err, name)
		var got [3]bool
		for i, a := range []string{"127.0.0.1:80", "127.0.0.2:80", "127.0.0.1:81"} {
			st := &generation{announced: b.announced}
			_, port, _ := net.SplitHostPort(a)
			local, err := net.ResolveTCPAddr("tcp", a)
			require.NoError(t, err)
			got[i] = st.announces(port, socketAt{local: local, remote: local})
			require.Equal(t, got[i], st.announces(a, socketAt{local: local, remote: local}), "%s: the address is listened on", name)
		}
		require.Equal(t, tc.want, got, name)
		require.Equal(t, tc.warn, strings.Join(warnings, "\n"), name)
	}
	for text, want := range map[string]string{
		"RemoteIPProxyProtocol Optional":                                "x.conf:2: RemoteIPProxyProtocol is On or Off",
		"RemoteIPProxyProtocolExceptions":                               "x.conf:2: RemoteIPProxyProtocolExceptions takes at least 1 argument(s), not 0",
		"RemoteIPProxyProtocolExceptions localhost":                     "is no address or network",
		"<Location />\nRemoteIPProxyProtocol On\n</Location>":           "x.conf:3: RemoteIPProxyProtocol may not stand here",
		"<Location />\nRemoteIPProxyProtocolExceptions ::\n</Location>": "x.conf:3: RemoteIPProxyProtocolExceptions may not stand here",
	} {
		_, _, err := read("Listen 80\n" + text)
		require.ErrorContains(t, err, want)
	}
}

// socketAt is a connection of which the addresses matter.
type socketAt struct {
	net.Conn
	local, remote net.Addr
}

func (s socketAt) LocalAddr() net.Addr  { return s.local }
func (s socketAt) RemoteAddr() net.Addr { return s.remote }

// TestProxyProtocolReload: the directive is turned on and off for a listener that
// stays, and connections that are open stay, too.
func TestProxyProtocolReload(t *testing.T) {
	const base = "Listen 80\nProxyPass / http://backend.test/\n"
	p := start(t, base, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	}))
	addr := p.server.addresses()["80"]
	bare := arrival{host: "h.test"}
	header := arrival{host: "h.test", begin: announced4}
	reload := func(n int, config string) {
		p.write(base + config)
		p.signals <- syscall.SIGHUP
		require.Eventually(t, func() bool { return strings.Count(p.stderr.String(), "reloaded\n") == n }, 30*time.Second, time.Millisecond)
		require.Equal(t, addr, p.server.addresses()["80"])
	}
	require.Equal(t, "200 127.0.0.1", bare.exchange(t, addr, "/"))
	require.Equal(t, "400", header.exchange(t, addr, "/"))
	open, err := net.Dial("tcp", addr) // under the configuration before
	require.NoError(t, err)
	defer open.Close()
	_, err = io.WriteString(open, "GET / HTTP/1.1\r\n")
	require.NoError(t, err)
	require.Equal(t, "200 127.0.0.1", bare.exchange(t, addr, "/"), "the one before was taken first")

	reload(1, "RemoteIPProxyProtocol On\nRemoteIPProxyProtocolExceptions 127.0.0.9\n")
	require.Equal(t, "closed", bare.exchange(t, addr, "/"))
	require.Equal(t, "200 192.0.2.1", header.exchange(t, addr, "/"))
	require.Equal(t, "200 127.0.0.9", arrival{from: "127.0.0.9", host: "h.test"}.exchange(t, addr, "/"))
	_, err = io.WriteString(open, "Host: h.test\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	text, err := io.ReadAll(open)
	require.NoError(t, err)
	require.Contains(t, string(text), "127.0.0.1")

	reload(2, "RemoteIPProxyProtocol Off\n")
	require.Equal(t, "200 127.0.0.1", bare.exchange(t, addr, "/"))
}
