package exchangetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// http1 is proxy.Transport.
func http1() Protocol {
	return Protocol{
		URL:       "http://backend.test/dir",
		Transport: func(b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} },
		Server:    func(c net.Conn) Server { return &http1Server{c: c, r: bufio.NewReader(c)} },
	}
}

func TestHTTP1(t *testing.T) { TestTransport(t, http1()) }

// http1Server is a server of HTTP/1.1.
type http1Server struct {
	c       net.Conn
	r       *bufio.Reader
	asked   *http.Request
	chunked bool
}

func (s *http1Server) ReadRequest() (r *http.Request, err error) {
	s.asked, err = http.ReadRequest(s.r)
	return s.asked, err
}

func (s *http1Server) write(format string, args ...any) error {
	_, err := fmt.Fprintf(s.c, format, args...)
	return err
}

func (s *http1Server) writeFields(status int, h http.Header) error {
	text := fmt.Sprintf("HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	for name, values := range h {
		for _, v := range values {
			text += name + ": " + v + "\r\n"
		}
	}
	return s.write("%s\r\n", text)
}

func (s *http1Server) WriteHead(status int, h http.Header) error {
	s.chunked = h.Get("Content-Length") == "" && status != http.StatusNoContent && status != http.StatusNotModified && s.asked.Method != http.MethodHead
	if s.chunked {
		h.Set("Transfer-Encoding", "chunked")
	}
	return s.writeFields(status, h)
}

func (s *http1Server) WriteBody(p []byte) error {
	if s.chunked {
		return s.write("%x\r\n%s\r\n", len(p), p)
	}
	_, err := s.c.Write(p)
	return err
}

func (s *http1Server) WriteEnd() error {
	if s.chunked {
		return s.write("0\r\n\r\n")
	}
	return nil
}

func (s *http1Server) WriteInterim(status int, h http.Header) error { return s.writeFields(status, h) }

func (s *http1Server) WriteUpgrade(h http.Header) (io.ReadWriter, error) {
	return struct {
		io.Reader
		io.Writer
	}{s.r, s.c}, s.writeFields(http.StatusSwitchingProtocols, h)
}
