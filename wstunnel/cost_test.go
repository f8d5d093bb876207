package wstunnel

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: neither a handshake nor frames cost more than their length.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	for name, fields := range map[string]func(h http.Header, n int){
		"subprotocols":           func(h http.Header, n int) { h[fieldProtocol] = []string{tokens(n / 2)} },
		"subprotocols, in lines": func(h http.Header, n int) { h[fieldProtocol] = strings.Split(tokens(n/2), ",") },
		"commas":                 func(h http.Header, n int) { h[fieldProtocol] = []string{strings.Repeat(" ,", n/2)} },
		"extensions":             func(h http.Header, n int) { h[fieldExtensions] = []string{tokens(n / 8)} },
		"commas of extensions":   func(h http.Header, n int) { h[fieldExtensions] = []string{strings.Repeat(" ,", n/2)} },
		"parameters":             func(h http.Header, n int) { h[fieldExtensions] = []string{"a" + strings.Repeat(`;b="\c" `, n/64)} },
		"deflate many times": func(h http.Header, n int) {
			h[fieldExtensions] = []string{strings.Repeat("permessage-deflate;client_max_window_bits,", n/42)}
		},
		"parameters of deflate": func(h http.Header, n int) {
			h[fieldExtensions] = []string{"permessage-deflate" + strings.Repeat(";client_max_window_bits", n/23)}
		},
		"an open quote": func(h http.Header, n int) { h[fieldExtensions] = []string{`a;b="` + strings.Repeat(`\"`, n/2)} },
		"Connection":    func(h http.Header, n int) { h["Connection"] = []string{strings.Repeat(",", n) + "upgrade"} },
		"Origin":        func(h http.Header, n int) { h["Origin"] = []string{"https://" + strings.Repeat("a.", n/2)} },
	} {
		inputs["handshake, "+name] = func(n int) func() {
			r := httptest.NewRequest("GET", "http://front.test/", nil)
			r.Header = http.Header{"Connection": {"upgrade"}, "Upgrade": {"websocket"}, fieldVersion: {"13"}, fieldKey: {"AAAAAAAAAAAAAAAAAAAAAA=="}}
			fields(r.Header, n)
			p, err := proxy.NewHandler("/", "ws://back.test/")
			require.NoError(t, err)
			p.Transport = refusing{}
			h := &Handler{Proxy: p, Subprotocols: []string{"b1", "b2"}, Origins: []string{"https://*.front.test", "self"}, Messages: &Messages{CompressClient: true}}
			return func() { h.ServeHTTP(httptest.NewRecorder(), r) }
		}
	}
	inputs["answer that chooses all that was offered"] = func(n int) func() {
		request := http.Header{fieldKey: {"AAAAAAAAAAAAAAAAAAAAAA=="}, fieldExtensions: {tokens(n / 4)}}
		answer := http.Header{fieldAccept: {acceptOf("AAAAAAAAAAAAAAAAAAAAAA==")}, fieldExtensions: {tokens(n / 4)}}
		return func() { require.NoError(t, checkAnswer(request, answer)) }
	}
	mask := strings.Repeat("\x00", 4)
	for name, one := range map[string]string{
		"of no byte":          "\x02\x80" + mask,
		"of one byte":         "\x02\x81" + mask + "x",
		"of messages of two":  "\x01\x81" + mask + "x\x80\x80" + mask,
		"messages of no byte": "\x82\x80" + mask,
		"pings":               "\x89\x80" + mask,
		"pongs":               "\x8a\x81" + mask + "x",
	} {
		frames := func(n int) []byte {
			b := []byte(strings.Repeat(one, n/len(one)))
			for i := len(one); i < len(b) && one[0] == 2; i += len(one) {
				b[i] = 0 // goes on
			}
			return b
		}
		inputs["bytes, frames "+name] = func(n int) func() {
			b := frames(n)
			return func() {
				f := &framing{masked: true}
				f.Follow(b)
				for i := range b {
					f.Follow(b[i : i+1])
				}
			}
		}
		inputs["checked, frames "+name] = func(n int) func() {
			b := frames(n)
			return func() {
				f := newFrames()
				_, _ = f.check(b)
				f = newFrames()
				for i := range b {
					_, _ = f.check(b[i : i+1])
				}
			}
		}
		inputs["messages, frames "+name] = func(n int) func() {
			b := frames(n)
			return func() { passMessages(t, b) }
		}
	}
	parsertest.Linear(t, inputs)
}

func newFrames() *frames { return &frames{masked: true} }

// tokens is a list of different tokens.
func tokens(n int) string {
	list := make([]string, 0, n/6)
	for i := range n / 6 {
		list = append(list, fmt.Sprintf("a%04d", i))
	}
	return strings.Join(list, ",")
}

// refusing is a transport to a backend that switches to nothing.
type refusing struct{}

func (refusing) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 403, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

// passMessages passes what a client has sent, and all that it has sent, to a
// backend that takes it.
func passMessages(t *testing.T, frames []byte) {
	client, err := accepted(newScriptedConn(bytes.NewReader(frames)), false)
	require.NoError(t, err)
	backend, err := dialed(newScriptedConn(nil), false)
	require.NoError(t, err)
	s := &session{m: &Messages{}}
	_ = s.run(client, backend)
}

// scriptedConn is a connection whose other side has sent all it has to say, or
// says nothing until it is closed.
type scriptedConn struct {
	net.Conn // no other method is called
	r        io.Reader
	once     sync.Once
	closed   chan struct{}
}

func newScriptedConn(r io.Reader) *scriptedConn {
	return &scriptedConn{r: r, closed: make(chan struct{})}
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	if c.r != nil {
		return c.r.Read(p)
	}
	<-c.closed
	return 0, io.EOF
}

func (c *scriptedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *scriptedConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *scriptedConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scriptedConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptedConn) SetWriteDeadline(time.Time) error { return nil }
