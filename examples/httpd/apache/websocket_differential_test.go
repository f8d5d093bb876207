package apache

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// The example of RFC 6455 section 1.3.
const (
	exampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	exampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

const (
	switches = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + exampleAccept + "\r\n"
	dressed  = "X-Back: 1\r\nX-Gone: 1\r\nSet-Cookie: a=b; Path=/; Domain=int.test\r\nLocation: http://ORIGIN/x\r\n"
	asks     = "Connection: keep-alive, Upgrade|Upgrade: websocket|Sec-WebSocket-Version: 13|Sec-WebSocket-Key: " + exampleKey
)

// handshakeRows are handshakes for both servers. After a 101 the origin says
// "hello", and then what it hears.
var handshakeRows = []struct {
	name         string
	path, fields string
	answer       string

	// What only one of the two has, and why that is meant.
	httpd, ours []string
	why         string
}{
	{name: "ws", path: "/ws/x?y=1", fields: asks, answer: switches},
	{name: "upgrade=websocket", path: "/up/x", fields: asks, answer: switches},
	{name: "upgrade=ANY", path: "/any/x", fields: asks, answer: switches},
	{
		name: "all fields", path: "/ws/x",
		fields: asks + "|Origin: http://front.test|Sec-WebSocket-Protocol: chat, superchat|Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits|Cookie: a=b|User-Agent: me",
		answer: switches + "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSet-Cookie: c=d\r\nX-Back: 1\r\n",
	},
	{name: "fields set", path: "/dressed/x", fields: asks, answer: switches + dressed},
	{name: "fields set, ws", path: "/dressed/ws/x", fields: asks, answer: switches + dressed},
	{name: "fields set, refused", path: "/dressed/x", fields: asks, answer: "HTTP/1.1 403 Forbidden\r\n" + dressed + "Content-Length: 2\r\n"},
	{name: "fields set, plain request", path: "/dressed/ws/x", answer: "HTTP/1.1 200 OK\r\n" + dressed + "Content-Length: 2\r\n"},
	{name: "another case", path: "/ws/x", fields: strings.NewReplacer("Upgrade", "upgrade", "websocket", "WebSocket").Replace(asks), answer: switches},
	{name: "refused", path: "/ws/x", fields: asks, answer: "HTTP/1.1 403 Forbidden\r\nX-Why: because\r\nContent-Length: 2\r\n"},
	{name: "plain request", path: "/ws/x", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"},
	{name: "not allowed", path: "/x", fields: asks, answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"},
	{name: "unasked 101", path: "/ws/x", answer: switches},
	{name: "another protocol", path: "/any/x", fields: "Connection: Upgrade|Upgrade: other/2", answer: strings.Replace(switches, "websocket", "other/2", 1)},
	{name: "false protocol", path: "/ws/x", fields: asks, answer: strings.Replace(switches, "websocket", "other", 1)},
	{
		name: "no 101 but the rest", path: "/ws/x", fields: asks, answer: "HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n",
		httpd: []string{"< connection: Upgrade, Keep-Alive"}, ours: []string{"< connection: Upgrade"}, why: "HTTP/1.1 keeps connections without a word",
	},
	{
		name: "false accept", path: "/ws/x", fields: asks, answer: strings.Replace(switches, exampleAccept, "false", 1),
		httpd: []string{"< 101", "< connection: Upgrade", "< sec-websocket-accept: false", "< upgrade: websocket", `< "hello early"`},
		ours:  []string{"< 502"}, why: "the answer to the key is checked",
	},
	{
		name: "extension unasked", path: "/ws/x", fields: asks, answer: switches + "Sec-WebSocket-Extensions: x\r\n",
		httpd: []string{"< 101", "< connection: Upgrade", "< sec-websocket-accept: " + exampleAccept, "< sec-websocket-extensions: x", "< upgrade: websocket", `< "hello early"`},
		ours:  []string{"< 502"}, why: "a backend may choose nothing that was not offered",
	},
	{
		name: "no key", path: "/ws/x", fields: asks[:strings.Index(asks, "|Sec-WebSocket-Key")], answer: switches,
		httpd: []string{
			"< 101", "< connection: Upgrade", "< sec-websocket-accept: " + exampleAccept, "< upgrade: websocket", `< "hello early"`,
			"> GET /ws/x", "> host: ORIGIN", "> connection: Upgrade", "> sec-websocket-version: 13", "> upgrade: websocket",
			"> x-forwarded-for: 127.0.0.1", "> x-forwarded-host: front.test", "> x-forwarded-server: front.test",
		},
		ours: []string{"< 400"}, why: "an answer to no key cannot be checked",
	},
}

// TestHandshakesBesideHTTPD sends the same handshakes to the real httpd and to
// this program, and compares what the backend gets and what the client gets.
func TestHandshakesBesideHTTPD(t *testing.T) {
	config, err := os.ReadFile("testdata/websocket.conf")
	require.NoError(t, err)
	requests, answer := make(chan string, 10), make(chan string, 1)
	origin := switchingOrigin(t, requests, answer)
	httpd := programs.HTTPD(t, "headers proxy proxy_http proxy_wstunnel", "Define ORIGIN "+origin+"\n"+string(config)).Addr
	ours := startFile(t, "testdata/websocket.conf", "-D", "PORT=80", "-D", "ORIGIN="+origin, "-listen", "80=127.0.0.1:0").addr()
	for _, r := range handshakeRows {
		t.Run(r.name, func(t *testing.T) {
			seen := func(addr string) []string {
				for len(requests) > 0 {
					<-requests
				}
				answer <- strings.ReplaceAll(r.answer, "ORIGIN", origin)
				lines := switchOver(t, addr, "GET "+r.path+" HTTP/1.1\r\nHost: front.test\r\n"+strings.Join(append(strings.Split(r.fields, "|"), ""), "\r\n"))
				select {
				case request := <-requests:
					lines = append(lines, strings.Split(strings.ReplaceAll(request, origin, "ORIGIN"), "\n")...)
				default:
				}
				select {
				case <-answer: // it was not asked
				default:
				}
				return lines
			}
			theirs, mine := seen(httpd), seen(ours)
			onlyHttpd, onlyOurs := difference(theirs, mine)
			require.Equal(t, [2][]string{r.httpd, r.ours}, [2][]string{onlyHttpd, onlyOurs}, "httpd:\n%s\nours:\n%s", strings.Join(theirs, "\n"), strings.Join(mine, "\n"))
			require.Equal(t, len(r.httpd)+len(r.ours) > 0, r.why != "")
		})
	}
}

// switchingOrigin tells requests, answers with what answer has, and after a 101
// says hello and what it hears.
func switchingOrigin(t *testing.T, requests chan<- string, answer <-chan string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				in := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					lines := []string{"> " + r.Method + " " + r.RequestURI, "> host: " + r.Host}
					requests <- strings.Join(append(lines, fieldLines("> ", r.Header)...), "\n")
					text := <-answer
					if !strings.Contains(text, " 101 ") {
						_, _ = io.WriteString(c, text+"\r\nno")
						continue
					}
					_, _ = io.WriteString(c, text+"\r\nhello ")
					_, _ = io.Copy(c, in)
					return
				}
			}()
		}
	}()
	return l.Addr().String()
}

// switchOver sends a request, and bytes of the new protocol if there is one, and
// returns what comes.
func switchOver(t *testing.T, addr, request string) []string {
	c, err := net.DialTimeout("tcp", addr, time.Minute)
	require.NoError(t, err)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, err = io.WriteString(c, request+"\r\n")
	require.NoError(t, err)
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	lines := append([]string{fmt.Sprintf("< %d", resp.StatusCode)}, fieldLines("< ", resp.Header)...)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(resp.Body)
		if len(body) == 2 { // not a page of the server's own
			lines = append(lines, fmt.Sprintf("< %q", body))
		}
		return lines
	}
	_, err = io.WriteString(c, "early")
	require.NoError(t, err)
	got := make([]byte, len("hello early"))
	_, _ = io.ReadFull(in, got)
	return append(lines, fmt.Sprintf("< %q", got))
}

// fieldLines are the fields that count, in order.
func fieldLines(mark string, h http.Header) []string {
	var lines []string
	for name, values := range h {
		switch name {
		case "Date", "Server", "Keep-Alive", "Content-Type", "Content-Length", "X-Content-Type-Options":
			continue
		}
		for _, v := range values {
			if name == "Connection" && strings.EqualFold(v, "keep-alive") {
				continue // HTTP/1.1 keeps alive without it
			}
			lines = append(lines, mark+strings.ToLower(name)+": "+v)
		}
	}
	slices.Sort(lines)
	return lines
}
