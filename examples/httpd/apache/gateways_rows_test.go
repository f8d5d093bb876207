package apache

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// gatewayRows ask applications behind uwsgi:// and scgi://, which tell what they are
// told.
var gatewayRows = []row{
	{name: "uwsgi", host: "gateways.test", line: "/u/a%20b/c?q=1", fields: "Authorization: Basic x|Cookie: a=1|X-Forwarded-For: 192.0.2.9|Proxy: no|X_Y: no"},
	{name: "uwsgi, POST", host: "gateways.test", line: "POST /u/x", fields: "Content-Type: text/x", body: "abc"},
	{name: "uwsgi, root", host: "gateways.test", line: "/u/"},
	{name: "uwsgi, without slashes", host: "gateways.test", line: "/un"},
	{name: "uwsgi, without slashes, below", host: "gateways.test", line: "/un/x/y"},
	{name: "uwsgi, the same path", host: "gateways.test", line: "/same/x"},
	{name: "uwsgi, dots", host: "gateways.test", line: "/u/x/../y"},
	{name: "uwsgi, by a socket", host: "gateways.test", line: "/unix/x"},
	{name: "uwsgi, by an expression", host: "gateways.test", line: "/match/x/y?q"},
	{name: "uwsgi, members", host: "gateways.test", line: "/members/x"},
	{name: "uwsgi, by a handler", host: "gateways.test", line: "/a.py"},
	{name: "uwsgi, by a handler and a socket", host: "gateways.test", line: "/a.unix?q"},
	{name: "uwsgi, by a handler and a worker's socket", host: "gateways.test", line: "/a.named?q"},
	{name: "uwsgi, by a worker's socket", host: "gateways.test", line: "/named/x"},
	{name: "uwsgi, by a worker's socket, without slashes", host: "gateways.test", line: "/named2/x"},
	{name: "uwsgi, nobody there", host: "gateways.test", line: "/gone/x"},
	{name: "uwsgi, encoded slash", host: "gateways.test", line: "/u/a%2Fb"},
	{name: "uwsgi, status", host: "gateways.test", line: "/u/x", fields: `X-Answer: HTTP/1.1 404 Gone\r\nX-A: b\r\n\r\nbody`},
	{name: "uwsgi, redirection", host: "gateways.test", line: "/u/x", fields: `X-Answer: HTTP/1.1 302 Found\r\nLocation: http://elsewhere.test/\r\n\r\n`},
	{name: "uwsgi, local redirection", host: "gateways.test", line: "/u/x", fields: `X-Answer: HTTP/1.1 302 Found\r\nLocation: /u/y\r\n\r\n`},
	{name: "uwsgi, no status line", host: "gateways.test", line: "/u/x", fields: `X-Answer: Status: 200 OK\r\n\r\nbody`},
	{name: "uwsgi, malformed field", host: "gateways.test", line: "/u/x", fields: `X-Answer: HTTP/1.1 200 OK\r\nA b\r\n\r\nbody`},
	{name: "uwsgi, no answer", host: "gateways.test", line: "/u/x", fields: `X-Answer: none`},
	{name: "uwsgi, HEAD", host: "gateways.test", line: "HEAD /u/x"},

	{name: "uwsgi, fields of the connection", host: "gateways.test", line: "/u/x", fields: "Upgrade: websocket|Connection: Upgrade|TE: trailers|Keep-Alive: 5|Proxy-Authorization: Basic y|Proxy-Connection: x|Via: 1.1 a|Max-Forwards: 5|Cdn-Loop: a"},
	{name: "uwsgi, fields that Connection names", host: "gateways.test", line: "/u/x", fields: "Connection: X-A, close|X-A: 1"},
	{name: "uwsgi, repeated fields", host: "gateways.test", line: "/u/x", fields: "X-A: 1|X-A: 2|Cookie: a=1|Cookie: b=2"},

	{name: "balancer without members", host: "gateways.test", line: "/nobody/x"},
	{name: "host in capitals", host: "gateways.test", line: "/upper/x"},
	{name: "host in capitals, expression", host: "gateways.test", line: "/uppermatch/x"},

	{name: "scgi", host: "gateways.test", line: "/s/a%20b/c?q=1", fields: "Authorization: Basic x|Cookie: a=1|X-Forwarded-For: 192.0.2.9|Proxy: no|X_Y: no"},
	{name: "scgi, POST", host: "gateways.test", line: "POST /s/x", fields: "Content-Type: text/x", body: "abc"},
	{name: "scgi, root", host: "gateways.test", line: "/s/"},
	{name: "scgi, without slashes", host: "gateways.test", line: "/sn"},
	{name: "scgi, without slashes, below", host: "gateways.test", line: "/sn/x/y"},
	{name: "scgi, path info", host: "gateways.test", line: "/info/x/y"},
	{name: "scgi, path info below", host: "gateways.test", line: "/infosub/z"},
	{name: "scgi, credentials", host: "gateways.test", line: "/auth/x", fields: "Authorization: Basic x"},
	{name: "scgi, by a rule", host: "gateways.test", line: "/rs/x?q"},
	{name: "scgi, by a handler", host: "gateways.test", line: "/a.rb"},
	{name: "scgi, status", host: "gateways.test", line: "/s/x", fields: `X-Answer: Status: 404 Gone\r\nX-A: b\r\n\r\nbody`},
	{name: "scgi, no status", host: "gateways.test", line: "/s/x", fields: `X-Answer: X-A: b\r\n\r\nbody`},
	{name: "scgi, redirection", host: "gateways.test", line: "/s/x", fields: `X-Answer: Location: http://elsewhere.test/\r\n\r\n`},
	{name: "scgi, redirection with a status", host: "gateways.test", line: "/s/x", fields: `X-Answer: Status: 302 Found\r\nLocation: /s/y\r\n\r\n`},
	{name: "scgi, local redirection", host: "gateways.test", line: "POST /s/x", fields: `X-Answer: Location: /u/y?z\r\n\r\n`, body: "abc"},
	{name: "scgi, local redirection with a status", host: "gateways.test", line: "/s/x", fields: `X-Answer: Status: 200 OK\r\nLocation: /u/y\r\n\r\n`},
	{name: "scgi, local redirection to itself", host: "gateways.test", line: "/s/x", fields: `X-Answer: Location: /s/x\r\n\r\n`},
	{name: "scgi, local redirection off", host: "gateways.test", line: "/stays/x", fields: `X-Answer: Location: /u/y\r\n\r\n`},
	{name: "scgi, local redirection by a field", host: "gateways.test", line: "/field/x", fields: `X-Answer: X-Reproxy: /u/y\r\n\r\n`},
	{name: "scgi, local redirection by another field", host: "gateways.test", line: "/field/x", fields: `X-Answer: Location: /u/y\r\n\r\n`},
	{name: "fcgi", host: "gateways.test", line: "/f/a.php?q=1", fields: "X-Forwarded-For: 192.0.2.9|X-A: 1"},
	{name: "fcgi, path info", host: "gateways.test", line: "/f/a.php/b/c"},
	{name: "fcgi, expression", host: "gateways.test", line: "/fm/a.php"},
	{name: "fcgi, expression and path info", host: "gateways.test", line: "/fm/x/a.php/b/c"},
	{name: "fcgi, group that is none", host: "gateways.test", line: "/empty/a.php"},
	{name: "fcgi, without slashes", host: "gateways.test", line: "/fn"},
	{name: "fcgi, without slashes, below", host: "gateways.test", line: "/fn/a.php"},
	{name: "fcgi, blank", host: "gateways.test", line: "/f/a%20b.php/c%20d"},
	{name: "fcgi, full", host: "gateways.test", line: "/full/a.php/b"},
	{name: "fcgi, first dot", host: "gateways.test", line: "/first/a.php/b.x/c"},
	{name: "fcgi, last dot", host: "gateways.test", line: "/last/a.php/b.x/c"},
	{name: "fcgi, whole", host: "gateways.test", line: "/whole/a.php/b%20c"},
	{name: "fcgi, unescape", host: "gateways.test", line: "/unescape/a.php/b%20c"},
	{name: "fcgi, FPM", host: "gateways.test", line: "/fpm/a.php/b"},
	{name: "fcgi, generic", host: "gateways.test", line: "/generic/a%20b.php/b"},
	{name: "fcgi, by a handler", host: "gateways.test", line: "/a.php/x/y?q"},
	{name: "fcgi, members", host: "gateways.test", line: "/fmembers/a.php"},

	{name: "scgi, HTTP", host: "gateways.test", line: "/s/x", fields: `X-Answer: HTTP/1.1 200 OK\r\n\r\nbody`},
	{name: "scgi, no answer", host: "gateways.test", line: "/s/x", fields: `X-Answer: none`},
}

// gatewaysMeant are the differences that we mean.
var gatewaysMeant = map[string]meantDifference{
	"uwsgi, fields that Connection names": {why: "they end with the connection: RFC 9110 section 7.6.1", httpd: []string{`< x-http-x-a: "1"`}},
	"uwsgi, repeated fields":              {why: "cookies joined by a comma are not what the client sent", httpd: []string{`< x-http-cookie: "a=1, b=2"`}, ours: []string{`< x-http-cookie: "a=1; b=2"`}},
	"uwsgi, no answer":                    {why: badGateway, httpd: []string{"< 500"}, ours: []string{"< 502"}},
	"scgi, no answer":                     {why: badGateway, httpd: []string{"< 500"}, ours: []string{"< 502"}},
	"scgi, HTTP":                          {why: badGateway, httpd: []string{"< 500"}, ours: []string{"< 502"}},
}

const badGateway = "what an application answers wrongly is 502, in every protocol"

var gateways = comparison{file: "gateways.conf", modules: "authz_host env setenvif headers alias dir rewrite proxy proxy_http proxy_balancer lbmethod_byrequests slotmem_shm proxy_uwsgi proxy_scgi proxy_fcgi",
	rows: gatewayRows, meant: gatewaysMeant, defines: func(t *testing.T, origin string) map[string]string {
		socket := filepath.Join(programs.Folder(t), "app.sock")
		_, port, _ := net.SplitHostPort(origin)
		all := map[string]string{"SOCKET": socket, "OPORT": port}
		for name, l := range map[string][2]string{"UWSGI": {"tcp", "127.0.0.1:0"}, "SCGI": {"tcp", "127.0.0.1:0"}, "FCGI": {"tcp", "127.0.0.1:0"}, "UNIX": {"unix", socket}} {
			addr := serveGateway(t, l[0], l[1], name)
			if name != "UNIX" {
				all[name] = addr
			}
		}
		require.NoError(t, os.Chmod(socket, 0o777))
		return all
	}}

func TestGatewaysDifferential(t *testing.T) { gateways.beside(t) }

func TestGatewaysOutcomes(t *testing.T) { gateways.alone(t, "gateways.golden") }

// TestGatewayByRule: httpd takes the target of such a rule for a path of its own.
func TestGatewayByRule(t *testing.T) {
	o := newRecording(t)
	addr := gateways.ours(t, gateways.defined(t, o))
	lines := strings.Join(ask(t, addr, "GET /rw/x?q HTTP/1.1\r\nHost: gateways.test\r\nConnection: close\r\n\r\n"), "\n")
	for _, want := range []string{"< 200\n", `x-path-info: "/x"`, `x-script-name: "/rw"`, `x-query-string: "q"`} {
		require.Contains(t, lines, want)
	}
}

// serveGateway is an application that answers with the variables it is told, or with
// the field X-Answer.
func serveGateway(t *testing.T, network, addr, protocol string) string {
	l, err := net.Listen(network, addr)
	require.NoError(t, err)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				answerGateway(c, protocol, l.Addr().String())
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		work.Wait()
	})
	return l.Addr().String()
}

func answerGateway(c io.ReadWriter, protocol, at string) {
	in := bufio.NewReader(c)
	head, read := "HTTP/1.1 200 OK\r\n", uwsgiVariables
	switch protocol {
	case "SCGI":
		head, read = "Status: 200 OK\r\n", scgiVariables
	case "FCGI":
		head, read = "Status: 200 OK\r\n", fcgiVariables
		out := fcgiWriter{c}
		defer out.end()
		c = out
	}
	env := read(in)
	length, _ := strconv.Atoi(env["CONTENT_LENGTH"])
	body := make([]byte, length)
	if protocol != "FCGI" {
		_, _ = io.ReadFull(in, body)
	}
	if answer, err := strconv.Unquote(`"` + env["HTTP_X_ANSWER"] + `"`); err == nil && answer != "" {
		if answer != "none" {
			_, _ = io.WriteString(c, answer)
		}
		return
	}
	for _, name := range []string{"PATH", "SERVER_SIGNATURE", "SERVER_SOFTWARE", "SERVER_ADMIN", "SERVER_PORT", "SERVER_ADDR", "REMOTE_PORT", "FCGI_ROLE", "UNIQUE_ID"} {
		delete(env, name)
	}
	text := head
	for _, name := range slices.Sorted(maps.Keys(env)) {
		text += fmt.Sprintf("X-%s: %q\r\n", strings.ReplaceAll(name, "_", "-"), strings.ReplaceAll(env[name], at, "APP"))
	}
	_, _ = fmt.Fprintf(c, "%sX-Body: %q\r\n\r\n", text, body)
}

func uwsgiVariables(in *bufio.Reader) map[string]string {
	env := make(map[string]string)
	var head [4]byte
	_, _ = io.ReadFull(in, head[:])
	all := make([]byte, binary.LittleEndian.Uint16(head[1:]))
	_, _ = io.ReadFull(in, all)
	text := func() string {
		if len(all) < 2 || len(all) < 2+int(binary.LittleEndian.Uint16(all)) {
			all = nil
			return ""
		}
		n := 2 + int(binary.LittleEndian.Uint16(all))
		s := string(all[2:n])
		all = all[n:]
		return s
	}
	for len(all) > 0 {
		name := text()
		env[name] = text()
	}
	return env
}

func scgiVariables(in *bufio.Reader) map[string]string {
	env := make(map[string]string)
	length, _ := in.ReadString(':')
	n, _ := strconv.Atoi(strings.TrimSuffix(length, ":"))
	all := make([]byte, n+1)
	_, _ = io.ReadFull(in, all)
	parts := strings.Split(string(all), "\x00")
	for i := 0; i+1 < len(parts); i += 2 {
		env[parts[i]] = parts[i+1]
	}
	return env
}

// fcgiVariables reads a request of FastCGI whole, and returns its variables.
func fcgiVariables(in *bufio.Reader) map[string]string {
	env := make(map[string]string)
	var all []byte
	for {
		var head [8]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return env
		}
		content := make([]byte, binary.BigEndian.Uint16(head[4:]))
		_, _ = io.ReadFull(in, content)
		_, _ = in.Discard(int(head[6]))
		if head[1] == 4 {
			all = append(all, content...)
		}
		if head[1] == 5 && len(content) == 0 {
			break
		}
	}
	length := func() (n int) {
		if len(all) > 0 && all[0] < 128 {
			n, all = int(all[0]), all[1:]
		} else if len(all) >= 4 {
			n, all = int(binary.BigEndian.Uint32(all)&^(1<<31)), all[4:]
		}
		return n
	}
	for len(all) > 0 {
		n, m := length(), length()
		if len(all) < n+m {
			break
		}
		env[string(all[:n])] = string(all[n : n+m])
		all = all[n+m:]
	}
	return env
}

// fcgiWriter writes the records of an answer.
type fcgiWriter struct{ io.ReadWriter }

func (w fcgiWriter) record(kind byte, p []byte) (int, error) {
	b := append([]byte{1, kind, 0, 1, byte(len(p) >> 8), byte(len(p)), 0, 0}, p...)
	_, err := w.ReadWriter.Write(b)
	return len(p), err
}

func (w fcgiWriter) Write(p []byte) (int, error) { return w.record(6, p) }

func (w fcgiWriter) end() { _, _ = w.record(3, make([]byte, 8)) }
