package scgi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange/exchangetest"
)

// readVariables reads a request up to its body.
func readVariables(r *bufio.Reader) (map[string]string, error) {
	length, err := r.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil {
		return nil, err
	}
	b := make([]byte, n+1)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	text, ok := strings.CutSuffix(string(b), "\x00,")
	if !ok {
		return nil, errors.New("no netstring of variables")
	}
	env := make(map[string]string)
	parts := strings.Split(text, "\x00")
	if len(parts)%2 != 0 || parts[0] != "CONTENT_LENGTH" {
		return nil, errors.New("the first variable is not CONTENT_LENGTH")
	}
	for i := 0; i < len(parts); i += 2 {
		if _, ok := env[parts[i]]; ok {
			return nil, errors.New("twice: " + parts[i])
		}
		env[parts[i]] = parts[i+1]
	}
	return env, nil
}

// peer serves connections with a function, and returns a transport to it.
func peer(t testing.TB, serve func(c net.Conn, env map[string]string)) *Transport {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if env, err := readVariables(bufio.NewReader(c)); err == nil {
				serve(c, env)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	b := &backend.Backend{URL: &url.URL{Scheme: "scgi", Host: l.Addr().String()}}
	t.Cleanup(func() { _ = b.Close() })
	return &Transport{Backend: b}
}

// TestExchanges: an application may fail at any time.
func TestExchanges(t *testing.T) {
	exchangetest.TestTransport(t, exchangetest.Protocol{
		URL:       "scgi://backend.test/app",
		Transport: func(b *backend.Backend) http.RoundTripper { return &Transport{Backend: b} },
		Server: func(c net.Conn) exchangetest.Server {
			return &server{Conn: c, r: bufio.NewReader(c)}
		},
		Single: true,
		Lacks:  map[string]string{"backend closes in a body of unknown length": "the end of the connection is that of such a body"},
	})
}

// server is the application's end of a connection.
type server struct {
	net.Conn
	r *bufio.Reader
}

func (s *server) ReadRequest() (*http.Request, error) {
	env, err := readVariables(s.r)
	if err != nil {
		return nil, err
	}
	length, _ := strconv.ParseInt(env["CONTENT_LENGTH"], 10, 64)
	return &http.Request{Method: env["REQUEST_METHOD"], URL: &url.URL{Path: env["PATH_INFO"]}, ContentLength: length, Body: io.NopCloser(io.LimitReader(s.r, length))}, nil
}

func (s *server) write(text string) error {
	_, err := io.WriteString(s.Conn, text)
	return err
}

func (s *server) WriteHead(status int, h http.Header) error {
	var text strings.Builder
	fmt.Fprintf(&text, "Status: %d %s\r\n", status, http.StatusText(status))
	_ = h.Write(&text)
	return s.write(text.String() + "\r\n")
}

func (s *server) WriteBody(p []byte) error { return s.write(string(p)) }

func (s *server) WriteEnd() error { return s.Conn.Close() }
