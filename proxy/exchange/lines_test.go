package exchange_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange/exchangetest"
)

// TestLines: the transport of the example passes the checks for transports.
func TestLines(t *testing.T) {
	exchangetest.TestTransport(t, exchangetest.Protocol{
		URL:       "lines://backend.test:1/dir",
		Transport: func(b *backend.Backend) http.RoundTripper { return &Transport{Backend: b} },
		Server:    func(c net.Conn) exchangetest.Server { return &linesServer{c: c, r: bufio.NewReader(c)} },
	})
}

// linesServer is the backend's end of a connection.
type linesServer struct {
	c net.Conn
	r *bufio.Reader
}

func (s *linesServer) ReadRequest() (*http.Request, error) {
	line, err := s.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	method, path, _ := strings.Cut(strings.TrimSpace(line), " ")
	return &http.Request{Method: method, URL: &url.URL{Path: path}, ContentLength: -1, Body: io.NopCloser(&pieces{r: s.r})}, nil
}

func (s *linesServer) write(format string, args ...any) error {
	_, err := fmt.Fprintf(s.c, format, args...)
	return err
}

func (s *linesServer) WriteHead(status int, _ http.Header) error { return s.write("%d\n", status) }
func (s *linesServer) WriteBody(p []byte) error                  { return s.write("%d\n%s", len(p), p) }
func (s *linesServer) WriteEnd() error                           { return s.write("0\n") }
