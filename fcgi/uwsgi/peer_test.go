package uwsgi

import (
	"bufio"
	"encoding/binary"
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
func readVariables(r io.Reader) (map[string]string, error) {
	var head [headLength]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.LittleEndian.Uint16(head[1:]))
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if head[0] != 0 || head[3] != 0 {
		return nil, errors.New("not a request of WSGI")
	}
	env := make(map[string]string)
	text := func() string {
		if len(b) < 2 || len(b) < 2+int(binary.LittleEndian.Uint16(b)) {
			b = nil
			return ""
		}
		n := 2 + int(binary.LittleEndian.Uint16(b))
		s := string(b[2:n])
		b = b[n:]
		return s
	}
	for len(b) > 0 {
		name := text()
		if _, ok := env[name]; ok {
			return nil, errors.New("twice: " + name)
		}
		env[name] = text()
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
			if env, err := readVariables(c); err == nil {
				serve(c, env)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	b := &backend.Backend{URL: &url.URL{Scheme: "uwsgi", Host: l.Addr().String()}}
	t.Cleanup(func() { _ = b.Close() })
	return &Transport{Backend: b}
}

// TestExchanges: an application may fail at any time.
func TestExchanges(t *testing.T) {
	exchangetest.TestTransport(t, exchangetest.Protocol{
		URL:       "uwsgi://backend.test/app",
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
	fmt.Fprintf(&text, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = h.Write(&text)
	return s.write(text.String() + "\r\n")
}

func (s *server) WriteInterim(status int, h http.Header) error { return s.WriteHead(status, h) }

func (s *server) WriteBody(p []byte) error { return s.write(string(p)) }

func (s *server) WriteEnd() error { return s.Conn.Close() }
