package fcgi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange/exchangetest"
)

// TestExchanges: a FastCGI application may fail at any time.
func TestExchanges(t *testing.T) {
	exchangetest.TestTransport(t, exchangetest.Protocol{
		URL:       "fcgi://backend.test/srv/app.php",
		Transport: func(b *backend.Backend) http.RoundTripper { return &Transport{Backend: b} },
		Server: func(c net.Conn) exchangetest.Server {
			return &exchangeServer{c: &peerConn{Conn: c, r: bufio.NewReader(c)}}
		},
	})
}

// exchangeServer is the application's end of a connection.
type exchangeServer struct{ c *peerConn }

func (s *exchangeServer) ReadRequest() (*http.Request, error) {
	a, ok := s.c.params()
	if !ok {
		return nil, io.EOF
	}
	u, err := url.Parse(a.env["REQUEST_URI"])
	if err != nil {
		return nil, err
	}
	length, _ := strconv.ParseInt(a.env["CONTENT_LENGTH"], 10, 64)
	return &http.Request{Method: a.env["REQUEST_METHOD"], URL: u, ContentLength: length, Body: io.NopCloser(&stdinReader{c: s.c})}, nil
}

// stdinReader reads the records of a request's body.
type stdinReader struct {
	c    *peerConn
	here []byte
}

func (b *stdinReader) Read(p []byte) (int, error) {
	if len(b.here) == 0 {
		h, content, err := b.c.record()
		switch {
		case err != nil:
			return 0, err
		case h.length == 0:
			return 0, io.EOF
		}
		b.here = content
	}
	n := copy(p, b.here)
	b.here = b.here[n:]
	return n, nil
}

func (s *exchangeServer) write(b []byte) error {
	_, err := s.c.Write(b)
	return err
}

func (s *exchangeServer) WriteHead(status int, h http.Header) error {
	var text strings.Builder
	fmt.Fprintf(&text, "Status: %d\r\n", status)
	_ = h.Write(&text)
	return s.write(stdout(text.String() + "\r\n"))
}

func (s *exchangeServer) WriteBody(p []byte) error { return s.write(stdout(string(p))) }

func (s *exchangeServer) WriteEnd() error { return s.write(end(0, requestComplete)) }
