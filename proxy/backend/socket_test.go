package backend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for s, want := range map[string][3]string{
		"http://h/x":                  {"tcp", "h:80", "http://h"},
		"http://h:81":                 {"tcp", "h:81", "http://h:81"},
		"https://h":                   {"tcp", "h:443", "https://h"},
		"ws://h":                      {"tcp", "h:80", "ws://h"},
		"wss://h":                     {"tcp", "h:443", "wss://h"},
		"h2c://h":                     {"tcp", "h:80", "h2c://h"},
		"h2://h":                      {"tcp", "h:443", "h2://h"},
		"fcgi://h":                    {"tcp", "h:8000", "fcgi://h"},
		"ajp://h":                     {"tcp", "h:8009", "ajp://h"},
		"ftp://u:p@h":                 {"tcp", "h:21", "ftp://h"},
		"ftps://h":                    {"tcp", "h:990", "ftps://h"},
		"ftpes://h":                   {"tcp", "h:21", "ftpes://h"},
		"scgi://h":                    {"tcp", "h:4000", "scgi://h"},
		"uwsgi://h":                   {"tcp", "h:3031", "uwsgi://h"},
		"http://[::1]":                {"tcp", "[::1]:80", "http://[::1]"},
		"unix:/run/s.sock|http://a/x": {"unix", "/run/s.sock", "unix:/run/s.sock|http://a"},
		"UNIX:/s|fcgi:":               {"unix", "/s", "unix:/s|fcgi://localhost"},
	} {
		b, err := Parse(s)
		require.NoError(t, err, s)
		require.Equal(t, want[2], b.String())
		require.Equal(t, want[0], b.network)
		require.Equal(t, want[1], b.address)
		_ = b.Close()
	}
	for _, s := range []string{"", "h", "/x", "http://", "gopher://h", "unix:/s", "unix:|http://h", "http://h:x", "://"} {
		_, err := Parse(s)
		require.Error(t, err, s)
	}
	_, err := new(Backend).Get(context.Background())
	require.ErrorContains(t, err, "no URL")
}

// listen returns a listener whose connections are handled by serve.
func listen(t testing.TB, network, addr string, serve func(net.Conn)) net.Listener {
	l, err := net.Listen(network, addr)
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
				serve(c)
			}()
		}
	}()
	return l
}

func TestClosedConnectionsAreSeen(t *testing.T) {
	for name, does := range map[string]func(c net.Conn){
		"closed": func(c net.Conn) { _ = c.Close() },
		"reset":  func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() },
		"speaks": func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 408 Too slow\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan net.Conn, 2)
			quit := make(chan struct{})
			l := listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) { conns <- c; <-quit })
			defer close(quit)
			b := &Backend{URL: &url.URL{Scheme: "http", Host: l.Addr().String()}}
			defer b.Close()
			get(t, b).Release(true)
			get(t, b).Release(true)
			require.EqualValues(t, 1, b.Stats().Reused, "open and quiet")
			does(<-conns)
			require.Eventually(t, func() bool {
				c := get(t, b)
				defer c.Release(true)
				return b.Stats().Created == 2
			}, 20*time.Second, time.Millisecond)
			c := get(t, b)
			require.True(t, c.Reused())
			c.Release(true)
		})
	}
}

func TestLookDoesNotAllocate(t *testing.T) {
	quit := make(chan struct{})
	l := listen(t, "tcp", "127.0.0.1:0", func(net.Conn) { <-quit })
	defer close(quit)
	b := &Backend{URL: &url.URL{Scheme: "http", Host: l.Addr().String()}}
	defer b.Close()
	ctx := context.Background()
	get(t, b).Release(true)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		c, _ := b.Get(ctx)
		c.Release(true)
	}))
}

func TestTurn(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) { _, _ = io.Copy(c, c) })
	b := &Backend{URL: &url.URL{Scheme: "http", Host: l.Addr().String()}, Timeout: 100 * time.Millisecond}
	defer b.Close()
	c := get(t, b)
	for i := range 100 {
		word := fmt.Sprintf("word %d", i)
		n, err := c.Turn([]byte(word))
		require.NoError(t, err)
		require.Equal(t, len(word), n)
		require.True(t, c.Waiting())
		got := make([]byte, len(word))
		_, err = io.ReadFull(c.R, got)
		require.NoError(t, err)
		require.Equal(t, word, string(got))
		require.False(t, c.Waiting())
	}
	one := []byte("x")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = c.Turn(one)
		_, _ = c.R.ReadByte()
	}))
	c.Release(true)

	const length = 32 << 20 // more than the sockets hold
	l = listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		_, _ = io.CopyN(io.Discard, c, length)
		_, _ = c.Write(one)
	})
	slow := &Backend{URL: &url.URL{Scheme: "http", Host: l.Addr().String()}}
	defer slow.Close()
	c = get(t, slow)
	n, err := c.Turn(make([]byte, length))
	require.NoError(t, err)
	require.Equal(t, length, n)
	_, err = c.R.ReadByte()
	require.NoError(t, err)
	c.Release(true)
}

func TestTurnTimesOut(t *testing.T) {
	quit := make(chan struct{})
	l := listen(t, "tcp", "127.0.0.1:0", func(net.Conn) { <-quit })
	defer close(quit)
	b := &Backend{URL: &url.URL{Scheme: "http", Host: l.Addr().String()}, Timeout: 50 * time.Millisecond}
	defer b.Close()
	c := get(t, b)
	c.Arm(0)
	start := time.Now()
	n, err := c.Turn([]byte("x"))
	require.Equal(t, 1, n)
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	require.True(t, ne.Timeout())
	require.GreaterOrEqual(t, time.Since(start), 50*time.Millisecond)
	c.Abort()
	n, err = c.Turn([]byte("x"))
	require.Zero(t, n)
	require.Error(t, err)
	c.Release(false)
}

func TestSourceAddr(t *testing.T) {
	from := make(chan string, 1)
	l := listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) { from <- c.RemoteAddr().String() })
	b := &Backend{URL: &url.URL{Scheme: "http", Host: l.Addr().String()}, SourceAddr: netip.MustParseAddr("127.0.0.1")}
	defer b.Close()
	get(t, b).Release(false)
	host, _, err := net.SplitHostPort(<-from)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", host)
}

func TestTLS(t *testing.T) {
	var seen tls.ConnectionState
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen = *r.TLS }))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	u, _ := url.Parse(s.URL)
	good := func() *tls.Config {
		return &tls.Config{RootCAs: roots, Certificates: s.TLS.Certificates, ServerName: "example.com"}
	}
	b := &Backend{URL: u, TLS: good()}
	defer b.Close()
	for i := range 3 {
		c := get(t, b)
		require.Equal(t, i > 0, c.Reused())
		_, _ = io.WriteString(c.W, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, c.W.Flush())
		resp, err := http.ReadResponse(c.R, nil)
		require.NoError(t, err)
		_ = resp.Body.Close()
		c.Release(true)
	}
	require.Equal(t, "example.com", seen.ServerName)
	require.Equal(t, "http/1.1", seen.NegotiatedProtocol)
	require.Len(t, seen.PeerCertificates, 1)
	require.Nil(t, good().NextProtos)

	for name, change := range map[string]func(c *tls.Config){
		"wrong name": func(c *tls.Config) { c.ServerName = "other.test" },
		"unknown CA": func(c *tls.Config) { c.RootCAs = x509.NewCertPool() },
	} {
		cfg := good()
		change(cfg)
		bad := &Backend{URL: u, TLS: cfg}
		_, err := bad.Get(context.Background())
		require.ErrorContains(t, err, "TLS handshake", name)
		require.Equal(t, StateError, bad.State())
		require.Zero(t, bad.Stats().Open)
		_ = bad.Close()
	}
}

// TestSchemeH2OffersH2: without NextProtos, and nothing else.
func TestSchemeH2OffersH2(t *testing.T) {
	certified := httptest.NewTLSServer(http.NotFoundHandler())
	defer certified.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	for name, tc := range map[string]struct {
		served []string
		works  bool
	}{
		"speaks h2": {[]string{"h2"}, true},
		"does not":  {[]string{"http/1.1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			config := &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: tc.served}
			l := listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
				c = tls.Server(c, config)
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			})
			b := &Backend{URL: &url.URL{Scheme: "h2", Host: l.Addr().String()}, TLS: &tls.Config{RootCAs: roots}}
			defer b.Close()
			c, err := b.Get(context.Background())
			if !tc.works {
				require.ErrorContains(t, err, "TLS handshake")
				require.Zero(t, b.Stats().Open)
				return
			}
			require.NoError(t, err)
			c.Release(false)
		})
	}
}

func TestArm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := inMemory()
		defer b.Close()
		b.Timeout = time.Hour
		c := get(t, b)
		c.Arm(0)
		first := c.deadline
		require.GreaterOrEqual(t, first, time.Hour)
		c.Arm(0)
		require.Equal(t, first, c.deadline, "it is still far enough ahead")
		c.Arm(20 * time.Millisecond)
		_, err := c.Read(make([]byte, 1))
		var ne net.Error
		require.ErrorAs(t, err, &ne)
		require.True(t, ne.Timeout())
		c.Arm(-1)
		go func() { _, _ = m.far[0].Write([]byte("x")) }()
		_, err = c.Read(make([]byte, 1))
		require.NoError(t, err)
		c.Arm(time.Second)
		time.Sleep(700 * time.Millisecond)
		c.Extend()
		go func() { time.Sleep(700 * time.Millisecond); _, _ = m.far[0].Write([]byte("x")) }()
		_, err = c.Read(make([]byte, 1))
		require.NoError(t, err)
		c.Disarmed()
		c.Release(false)
	})
}
