package fcgi

import (
	"bufio"
	"io"
	"net"
	"net/http"
	childfcgi "net/http/fcgi"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// child serves FastCGI by net/http/fcgi, and returns a transport to it.
func child(t testing.TB, h http.HandlerFunc) *Transport {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = childfcgi.Serve(l, h)
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return transportTo(t, l.Addr().String())
}

func transportTo(t testing.TB, addr string) *Transport {
	b := &backend.Backend{URL: &url.URL{Scheme: "fcgi", Host: addr}, Timeout: 10 * time.Second}
	t.Cleanup(func() { _ = b.Close() })
	return &Transport{Backend: b}
}

// behind serves a transport by a proxy.Handler.
func behind(t testing.TB, tr http.RoundTripper) *httptest.Server {
	s := httptest.NewServer(behindHandler(tr))
	t.Cleanup(s.Close)
	return s
}

// peer is a scripted application: it does with each connection what it is told.
type peer struct {
	l  net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex // guards the rest
	conns []net.Conn
	count int
}

// newPeer serves each connection with serve; n counts them from 1.
func newPeer(t testing.TB, serve func(c *peerConn, n int)) (*peer, *Transport) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &peer{l: l}
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.count++
			n := p.count
			p.conns = append(p.conns, c)
			p.mu.Unlock()
			p.wg.Add(1)
			go func() {
				defer p.wg.Done()
				defer c.Close()
				serve(&peerConn{Conn: c, r: bufio.NewReader(c)}, n)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p, transportTo(t, l.Addr().String())
}

func (p *peer) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// peerConn is one connection of a peer.
type peerConn struct {
	net.Conn
	r *bufio.Reader
}

// asked is a request as a peer got it.
type asked struct {
	role  role
	keep  bool
	env   map[string]string
	stdin []byte
}

func (c *peerConn) record() (recordHead, []byte, error) {
	var head [headLength]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return recordHead{}, nil, err
	}
	h, err := parseRecordHead(head[:])
	if err != nil {
		return h, nil, err
	}
	content := make([]byte, h.length+h.padding)
	_, err = io.ReadFull(c.r, content)
	return h, content[:h.length], err
}

// params reads BEGIN_REQUEST and the variables.
func (c *peerConn) params() (asked, bool) {
	a := asked{env: map[string]string{}}
	var pairs []byte
	for {
		h, content, err := c.record()
		if err != nil {
			return a, false
		}
		switch {
		case h.kind == typeBeginRequest:
			a.role, a.keep = role(content[1]), content[2]&flagKeepConn != 0
		case h.kind == typeParams && h.length > 0:
			pairs = append(pairs, content...)
		case h.kind == typeParams:
			for len(pairs) > 0 {
				var name, value string
				if name, value, pairs, err = parsePair(pairs); err != nil {
					return a, false
				}
				a.env[name] = value
			}
			return a, true
		}
	}
}

// request reads a whole request.
func (c *peerConn) request() (asked, bool) {
	a, ok := c.params()
	for ok {
		h, content, err := c.record()
		if err != nil || h.kind != typeStdin {
			return a, false
		}
		if h.length == 0 {
			break
		}
		a.stdin = append(a.stdin, content...)
	}
	return a, ok
}

func (c *peerConn) say(b []byte) { _, _ = c.Write(b) }

func (c *peerConn) untilClosed() { _, _ = io.Copy(io.Discard, c.r) }

func stdout(s string) []byte { return appendStream(nil, typeStdout, requestID, []byte(s)) }

func stderr(s string) []byte { return appendStream(nil, typeStderr, requestID, []byte(s)) }

func end(app uint32, protocol byte) []byte {
	return appendRecord(nil, typeEndRequest, requestID, []byte{byte(app >> 24), byte(app >> 16), byte(app >> 8), byte(app), protocol, 0, 0, 0})
}

func join(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// answering answers each request with the same bytes.
func answering(t testing.TB, answer []byte) (*peer, *Transport) {
	return newPeer(t, func(c *peerConn, _ int) {
		for {
			if _, ok := c.request(); !ok {
				return
			}
			c.say(answer)
		}
	})
}

// behindHandler is a proxy.Handler before a transport.
func behindHandler(tr http.RoundTripper) http.Handler {
	return &proxy.Handler{Target: &url.URL{Scheme: "fcgi", Host: "app", Path: "/srv/"}, Prefix: "/", Transport: tr}
}

// serverOf serves a handler, and returns its URL.
func serverOf(t testing.TB, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
