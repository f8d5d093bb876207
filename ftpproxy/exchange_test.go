package ftpproxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange/exchangetest"
)

// TestExchanges: an FTP server may fail at any time, be the size of files known
// or not.
func TestExchanges(t *testing.T) {
	const stale = "the server has replied to other commands before: the connection was open"
	for name, size := range map[string]string{
		"size known":     fmt.Sprint("213 ", exchangetest.BodySize),
		"size not known": "502 what?",
	} {
		t.Run(name, func(t *testing.T) {
			ports := &dataPorts{last: 1000, waiting: make(map[string]chan net.Conn)}
			exchangetest.TestTransport(t, exchangetest.Protocol{
				URL:       "ftp://backend.test/dir",
				Upload:    http.MethodPut,
				Transport: func(b *backend.Backend) http.RoundTripper { return &Transport{Backend: b, AllowPut: true} },
				Server: func(c net.Conn) exchangetest.Server {
					return &exchangeServer{c: c, r: bufio.NewReader(c), ports: ports, size: size}
				},
				Second: ports.give,
				Undo:   shutLimit,
				Lacks: map[string]string{
					"client breaks off its body":                            "a pipe has no way to end other than well",
					"closed when the next request is read, GET":             stale,
					"closed when the next request is read, GET over TCP":    stale,
					"answers without content":                               "it is not the server that sends a status",
					"answers closed unread":                                 "it is not the server that sends a status",
					"answer when nothing can be sent any more":              "it is not the server that sends a body then",
					"answer that goes on when nothing can be sent any more": "it is not the server that sends a body then",
					"answer before the upload is read":                      "it is not the server that sends a body then",
				},
			})
		})
	}
}

// dataPorts are the ports to which data connections are made.
type dataPorts struct {
	mu      sync.Mutex
	last    int
	waiting map[string]chan net.Conn // by port
}

// open returns a port, and where its connection will come from.
func (p *dataPorts) open() (int, chan net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	c := make(chan net.Conn, 1)
	p.waiting[fmt.Sprint(p.last)] = c
	return p.last, c
}

func (p *dataPorts) give(addr string, c net.Conn) {
	_, port, _ := net.SplitHostPort(addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[port] <- c
}

// exchangeServer is the server's end of a control connection.
type exchangeServer struct {
	c       net.Conn
	r       *bufio.Reader
	ports   *dataPorts
	size    string // the reply to SIZE
	greeted bool
	next    chan net.Conn
	data    net.Conn
	stores  bool
}

func (s *exchangeServer) say(text string) error {
	_, err := io.WriteString(s.c, text+"\r\n")
	return err
}

// Close closes the data connection.
func (s *exchangeServer) Close() error {
	if s.data != nil {
		_ = s.data.Close()
	}
	return nil
}

// ReadRequest answers the commands that go before a transfer.
func (s *exchangeServer) ReadRequest() (*http.Request, error) {
	if !s.greeted {
		s.greeted = true
		if err := s.say("220 hello"); err != nil {
			return nil, err
		}
	}
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		verb, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		reply := "200 fine"
		switch verb {
		case "RETR", "STOR":
			select {
			case s.data = <-s.next:
			default:
				return nil, io.EOF
			}
		}
		switch verb {
		case "RETR":
			s.stores = false
			return s.request(http.MethodGet, arg, http.NoBody), nil
		case "STOR":
			s.stores = true
			if err := s.say("150 send"); err != nil {
				return nil, err
			}
			return s.request(http.MethodPut, arg, io.NopCloser(s.data)), nil
		case "USER":
			reply = "331 password?"
		case "PASS":
			reply = "230 in"
		case "FEAT":
			reply = "211-features\r\n SIZE\r\n211 end"
		case "PWD":
			reply = `257 "/"`
		case "SIZE":
			reply = s.size
		case "EPSV":
			var port int
			port, s.next = s.ports.open()
			reply = fmt.Sprintf("229 here (|||%d|)", port)
		}
		if err := s.say(reply); err != nil {
			return nil, err
		}
	}
}

func (s *exchangeServer) request(method, name string, body io.ReadCloser) *http.Request {
	return &http.Request{Method: method, URL: &url.URL{Path: "/" + name}, ContentLength: -1, Body: body}
}

func (s *exchangeServer) WriteHead(int, http.Header) error {
	if s.stores {
		return nil
	}
	return s.say("150 coming")
}

func (s *exchangeServer) WriteBody(p []byte) error {
	if s.stores {
		return nil
	}
	_, err := s.data.Write(p)
	return err
}

func (s *exchangeServer) WriteEnd() error {
	_ = s.data.Close()
	s.data = nil
	return s.say("226 done")
}
