package apache

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/examples/internal/ftpd"
	"github.com/modproxy/modproxy/examples/programs"
)

// longAnswer is more than all buffers on the way hold.
const longAnswer = 64 << 20

// uploads says how long a body is, and answers /long at length.
var uploads = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/long") {
		w.Header().Set("Content-Length", strconv.Itoa(longAnswer))
		line := make([]byte, 64<<10)
		for range longAnswer / len(line) {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
		return
	}
	if strings.HasSuffix(r.URL.Path, "/early") { // a head, and then what the body says
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		w.Header().Set("X-Early", "yes")
		_ = rc.Flush()
		if _, err := io.Copy(w, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		return
	}
	n, err := io.Copy(io.Discard, r.Body)
	if err == nil {
		_, _ = fmt.Fprint(w, "got ", n)
	}
})

// patience is more than any of the limits that are set here, and less than
// those that are not.
const patience = 20 * time.Second

// TestClientLimitsBesideHTTPD sends what does not go on to this program and to
// the real httpd.
func TestClientLimitsBesideHTTPD(t *testing.T) {
	config, err := os.ReadFile("testdata/clientlimits.conf")
	require.NoError(t, err)
	origin := httptest.NewServer(uploads)
	t.Cleanup(origin.Close)
	at := origin.Listener.Addr().String()
	drip := func(pieces int, piece string) func(c net.Conn) {
		return func(c net.Conn) {
			for range pieces {
				if _, err := io.WriteString(c, piece); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
	}
	const post = "POST / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n"
	rows := map[string]struct {
		host    string
		request string
		more    func(c net.Conn)
		want    string // a status, or "cut"
	}{
		"half a body":             {"timeout.test", post + "Content-Length: 10\r\n\r\nhalf", nil, "408"},
		"half a chunk":            {"timeout.test", post + "Transfer-Encoding: chunked\r\n\r\n9\r\nhalf", nil, "408"},
		"no body":                 {"timeout.test", post + "Content-Length: 10\r\n\r\n", nil, "408"},
		"behind what is streamed": {"timeout.test", post + "Content-Length: 200000\r\n\r\n" + strings.Repeat("x", 100000), nil, "408"},
		"a byte now and then":     {"timeout.test", post + "Content-Length: 20\r\n\r\n", drip(20, "x"), "200"},
		"no reader":               {"timeout.test", "GET /long HTTP/1.1\r\nHost: %s\r\n\r\n", nil, "cut"},
		"all of a body":           {"body.test", post + "Content-Length: 100\r\n\r\n", drip(100, "x"), "408"},
		"below the rate":          {"rate.test", post + "Content-Length: 100\r\n\r\n", drip(100, "x"), "408"},
		"above the rate":          {"rate.test", post + "Content-Length: 20000\r\n\r\n", drip(20, strings.Repeat("x", 1000)), "200"},
		"beyond the longest":      {"range.test", post + "Content-Length: 100\r\n\r\n", drip(100, "x"), "408"},
		"another host's":          {"first.test", post + "Content-Length: 20\r\n\r\n", drip(20, "x"), "200"},
	}
	servers := map[string]func(t *testing.T) string{
		"ours": func(t *testing.T) string {
			return startFile(t, "testdata/clientlimits.conf", "-D", "PORT=80", "-D", "ORIGIN="+at, "-listen", "80=127.0.0.1:0").addr()
		},
		"httpd": func(t *testing.T) string {
			return programs.HTTPD(t, "reqtimeout proxy proxy_http", "Define ORIGIN "+at+"\n"+string(config)).Addr
		},
	}
	for server, run := range servers {
		t.Run(server, func(t *testing.T) {
			addr := run(t)
			for name, r := range rows {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					c, err := net.Dial("tcp", addr)
					require.NoError(t, err)
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(patience))
					_, err = fmt.Fprintf(c, r.request, r.host)
					require.NoError(t, err)
					if r.want == "cut" {
						time.Sleep(3 * time.Second) // it has to fall behind
						n, err := io.Copy(io.Discard, c)
						var ne net.Error
						require.False(t, errors.As(err, &ne) && ne.Timeout(), "the connection is open still")
						require.Less(t, n, int64(longAnswer))
						return
					}
					if r.more != nil {
						sent := make(chan struct{})
						defer func() { _ = c.Close(); <-sent }()
						go func() { defer close(sent); r.more(c) }()
					}
					resp, err := http.ReadResponse(bufio.NewReader(c), nil)
					require.NoError(t, err)
					_ = resp.Body.Close()
					require.Equal(t, r.want, strconv.Itoa(resp.StatusCode))
				})
			}
			t.Run("half a head", func(t *testing.T) { // 408 of httpd; net/http closes without an answer
				t.Parallel()
				c, err := net.Dial("tcp", addr)
				require.NoError(t, err)
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: range.test\r\n")
				b, err := io.ReadAll(c)
				require.NoError(t, err)
				require.True(t, len(b) == 0 || bytes.Contains(b, []byte(" 408 ")), "%s", b)
			})
		})
	}
}

// TestStalledClientsOfEveryProtocol: two clients that neither send nor read
// have both connections to a backend. Everybody else is served soon.
func TestStalledClientsOfEveryProtocol(t *testing.T) {
	plain := httptest.NewServer(uploads)
	t.Cleanup(plain.Close)
	h2 := httptest.NewUnstartedServer(uploads)
	h2.Config.Protocols = new(http.Protocols)
	h2.Config.Protocols.SetUnencryptedHTTP2(true)
	h2.Start()
	t.Cleanup(h2.Close)
	container := startAJP(t, &ajp.Server{Handler: uploads})
	children := serveFastCGI(t, uploads)
	files := ftpd.Serve(t, ftpd.Plant(t, map[string]string{"long": strings.Repeat("x", longAnswer), "short": "short"}), false)
	const param = " max=2 acquire=1 timeout=60 retry=60"
	for name, target := range map[string]string{
		"http":     "ProxyPass / http://" + plain.Listener.Addr().String() + "/" + param,
		"h2c":      "ProxyPass / h2c://" + h2.Listener.Addr().String() + "/" + param,
		"fcgi":     "ProxyPass / fcgi://" + children + "/" + param,
		"ajp":      "ProxyPass / ajp://" + container + "/" + param,
		"ftp":      "ProxyPass / ftp://" + files + "/" + param,
		"balancer": "<Proxy balancer://one>\nBalancerMember http://" + plain.Listener.Addr().String() + param + "\n</Proxy>\nProxyPass / balancer://one/",
		"cache":    "CacheEnable socache /\nProxyPass / http://" + plain.Listener.Addr().String() + "/" + param,
		"quick":    "CacheQuickHandler off\nCacheMaxFileSize 1000\n<Location />\nCacheEnable socache\n</Location>\nProxyPass / http://" + plain.Listener.Addr().String() + "/" + param,
	} {
		for kind, request := range map[string]string{
			"body":   "POST /short HTTP/1.1\r\nHost: f\r\nContent-Length: 10\r\n\r\nhalf",
			"early":  "POST /early HTTP/1.1\r\nHost: f\r\nContent-Length: 10\r\n\r\nhalf",
			"answer": "GET /long HTTP/1.1\r\nHost: f\r\n\r\n",
		} {
			if name == "ftp" && kind != "answer" {
				continue // nothing is stored
			}
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				p := start(t, "Timeout 1\nRequestReadTimeout body=0\n"+target, echo)
				addr := p.server.addresses()["80"]
				var clients []net.Conn
				for range 2 {
					c, err := net.Dial("tcp", addr)
					require.NoError(t, err)
					defer c.Close()
					_, err = io.WriteString(c, request)
					require.NoError(t, err)
					clients = append(clients, c)
				}
				require.Eventually(t, func() bool {
					resp, _ := p.get("80", "f/short")
					return resp.StatusCode == 200
				}, patience, 50*time.Millisecond)
				for _, c := range clients {
					_ = c.SetReadDeadline(time.Now().Add(patience))
					switch kind {
					case "answer":
						continue // see TestClientLimitsBesideHTTPD
					case "early":
						_, err := io.Copy(io.Discard, c)
						var ne net.Error
						require.False(t, errors.As(err, &ne) && ne.Timeout(), "the connection is open still")
						continue
					}
					resp, err := http.ReadResponse(bufio.NewReader(c), nil)
					require.NoError(t, err)
					_ = resp.Body.Close()
					require.Equal(t, 408, resp.StatusCode)
				}
			})
		}
	}
}

// serveFastCGI runs a FastCGI application.
func serveFastCGI(t *testing.T, h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { defer close(done); _ = fcgi.Serve(l, h) }()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// TestRequestReadTimeoutErrors: what httpd refuses.
func TestRequestReadTimeoutErrors(t *testing.T) {
	for _, bad := range []string{"", "body", "body=", "body=x", "body=-1", "body=1-2", "body=2-1,MinRate=5", "body=1,MinRate=0", "body=1,MinRate=x", "tail=1", "10"} {
		_, _, err := read("Listen 80\nRequestReadTimeout " + bad)
		require.Error(t, err, bad)
	}
	for _, good := range []string{"body=0", "header=10-20,MinRate=1000 body=10,minrate=500", "handshake=5", "Header=1"} {
		_, _, err := read("Listen 80\nRequestReadTimeout " + good)
		require.NoError(t, err, good)
	}
}
