package ftpproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
)

// scripted is a server that serves one file, "f", and one directory, "d", as it
// should, but for the commands that a test answers in another way.
type scripted struct {
	t        testing.TB
	listener net.Listener
	file     string
	list     string // what LIST sends
	features string // lines of FEAT
	on       map[string]func(c *scriptedConn, arg string)

	mu   sync.Mutex
	told []string // commands
	work sync.WaitGroup
	once sync.Once
	ends chan struct{} // closed when the test ends
}

// scriptedConn is a control connection at the server.
type scriptedConn struct {
	net.Conn
	s    *scripted
	data net.Listener
}

// startScripted returns a server that runs from the first call of its transport
// on. Until then its fields may be set.
func startScripted(t testing.TB) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &scripted{t: t, listener: l, file: "content\n", features: " SIZE\r\n MDTM\r\n REST STREAM\r\n UTF8\r\n",
		on: make(map[string]func(*scriptedConn, string)), ends: make(chan struct{})}
	t.Cleanup(func() {
		close(s.ends)
		_ = l.Close()
		s.work.Wait()
	})
	return s
}

func (s *scripted) accept() {
	defer s.work.Done()
	for {
		nc, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.work.Add(1)
		go func() {
			defer s.work.Done()
			c := &scriptedConn{Conn: nc, s: s}
			done := make(chan struct{})
			defer close(done)
			go func() { // whatever a hook waits for ends with the test
				select {
				case <-s.ends:
				case <-done:
				}
				_ = nc.Close()
			}()
			c.serve()
			if c.data != nil {
				_ = c.data.Close()
			}
		}()
	}
}

func (c *scriptedConn) serve() {
	c.run("greeting", "", func() { c.say("220 hello") })
	c.serveCommands()
}

func (c *scriptedConn) serveCommands() {
	r := bufio.NewReader(c.Conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		c.s.mu.Lock()
		c.s.told = append(c.s.told, line)
		c.s.mu.Unlock()
		verb, arg, _ := strings.Cut(line, " ")
		c.run(verb, arg, func() { c.regular(verb, arg) })
	}
}

func (c *scriptedConn) run(verb, arg string, regular func()) {
	if f := c.s.on[verb]; f != nil {
		f(c, arg)
		return
	}
	regular()
}

// regular answers as a server should.
func (c *scriptedConn) regular(verb, arg string) {
	switch verb {
	case "USER":
		c.say("331 password?")
	case "PASS":
		c.say("230 in")
	case "FEAT":
		c.say("211-features\r\n" + c.s.features + "211 end")
	case "TYPE", "OPTS", "PBSZ", "PROT", "NOOP":
		c.say("200 fine")
	case "PWD":
		c.say(`257 "/home"`)
	case "CWD":
		if arg == "d" || arg == "/home" {
			c.say("250 there")
		} else {
			c.say("550 no")
		}
	case "SIZE":
		if arg == "f" {
			c.say(fmt.Sprintf("213 %d", len(c.s.file)))
		} else {
			c.say("550 no")
		}
	case "MDTM":
		c.say("213 20240302030405")
	case "EPSV":
		c.say(fmt.Sprintf("229 here (|||%d|)", c.listen()))
	case "REST":
		c.say("350 go on")
	case "RETR":
		c.transfer(c.s.file, "226 done")
	case "LIST":
		c.transfer(c.s.list, "226 done")
	case "STOR":
		c.receive()
	case "DELE":
		c.say("250 gone")
	case "QUIT":
		c.say("221 bye")
		_ = c.Close()
	default:
		c.say("500 what?")
	}
}

func (c *scriptedConn) say(text string) { _, _ = io.WriteString(c.Conn, text+"\r\n") }

// hang says nothing more, and closes nothing, until the test ends.
func (c *scriptedConn) hang() { <-c.s.ends }

// listen opens a port for data.
func (c *scriptedConn) listen() int {
	if c.data != nil {
		_ = c.data.Close()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		_ = c.Close()
		return 0
	}
	c.data = l
	return l.Addr().(*net.TCPAddr).Port
}

// accept takes the data connection.
func (c *scriptedConn) accept() net.Conn {
	defer c.data.Close()
	_ = c.data.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	d, err := c.data.Accept()
	if err != nil {
		_ = c.Close()
		return nil
	}
	return d
}

// transfer sends text over a data connection, and then the reply.
func (c *scriptedConn) transfer(text, reply string) {
	c.say("150 coming")
	if d := c.accept(); d != nil {
		_, _ = io.WriteString(d, text)
		_ = d.Close()
		c.say(reply)
	}
}

// receive stores what comes.
func (c *scriptedConn) receive() {
	c.say("150 send")
	if d := c.accept(); d != nil {
		_, err := io.Copy(io.Discard, d)
		_ = d.Close()
		if err != nil {
			c.say("426 broken")
			return
		}
		c.say("226 stored")
	}
}

// heard returns the commands that the server was given.
func (s *scripted) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.told...)
}

// transport returns one for the server.
func (s *scripted) transport(limit time.Duration) *Transport {
	s.once.Do(func() {
		s.work.Add(1)
		go s.accept()
	})
	b := &backend.Backend{URL: &url.URL{Scheme: "ftp", Host: s.listener.Addr().String()}, Timeout: limit}
	s.t.Cleanup(func() { _ = b.Close() })
	return &Transport{Backend: b}
}

// ask sends a request, and reads all of the answer.
func ask(ctx context.Context, rt http.RoundTripper, method, path string, body io.Reader) (*http.Response, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, "ftp://server.test"+path, body)
	if err != nil {
		return nil, "", err
	}
	resp, err := rt.RoundTrip(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}
