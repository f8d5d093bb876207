package ajp

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"testing"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange/exchangetest"
)

// TestExchanges: a container may fail at any time.
func TestExchanges(t *testing.T) {
	exchangetest.TestTransport(t, exchangetest.Protocol{
		URL:       "ajp://backend.test/app",
		Transport: func(b *backend.Backend) http.RoundTripper { return &Transport{Backend: b} },
		Server:    func(c net.Conn) exchangetest.Server { return &exchangeServer{c: c, r: bufio.NewReader(c)} },
	})
}

// exchangeServer is the container's end of a connection.
type exchangeServer struct {
	c net.Conn
	r *bufio.Reader
}

// packet reads the payload of a packet.
func (s *exchangeServer) packet() ([]byte, error) {
	var head [headSize]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return nil, err
	}
	payload := make([]byte, getInt(head[2:]))
	_, err := io.ReadFull(s.r, payload)
	return payload, err
}

func (s *exchangeServer) write(payload []byte) error {
	packet := appendHead(nil)
	putHead(packet, toProxy, len(payload))
	_, err := s.c.Write(append(packet, payload...))
	return err
}

func (s *exchangeServer) ReadRequest() (*http.Request, error) {
	payload, err := s.packet()
	if err != nil {
		return nil, err
	}
	var fr forwardRequest
	if err := parseForwardRequest(string(payload[1:]), &fr); err != nil {
		return nil, err
	}
	length, _ := strconv.ParseInt(fr.header.Get("Content-Length"), 10, 64)
	body := &packetReader{s: s, left: length, unasked: true}
	return &http.Request{Method: fr.method, URL: &url.URL{Path: fr.uri}, Header: fr.header, ContentLength: length, Body: io.NopCloser(body)}, nil
}

// packetReader reads the packets of a request's body, for which it asks.
type packetReader struct {
	s       *exchangeServer
	left    int64
	here    []byte
	unasked bool // the first comes so
}

func (b *packetReader) Read(p []byte) (int, error) {
	if len(b.here) == 0 {
		if b.left == 0 {
			return 0, io.EOF
		}
		if !b.unasked {
			if _, err := b.s.c.Write(appendAsk(nil, DefaultPacketSize-bodyHead)); err != nil {
				return 0, err
			}
		}
		b.unasked = false
		payload, err := b.s.packet()
		switch {
		case err != nil:
			return 0, err
		case len(payload) <= 2:
			return 0, io.ErrUnexpectedEOF
		}
		b.here = payload[2:]
		b.left -= int64(len(b.here))
	}
	n := copy(p, b.here)
	b.here = b.here[n:]
	return n, nil
}

func (s *exchangeServer) WriteHead(status int, h http.Header) error {
	packet, _ := appendSendHeaders(nil, status, h, DefaultPacketSize)
	_, err := s.c.Write(packet)
	return err
}

func (s *exchangeServer) WriteInterim(status int, h http.Header) error { return s.WriteHead(status, h) }

func (s *exchangeServer) WriteBody(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), 8000)
		payload := append([]byte{typeSendBodyChunk, byte(n >> 8), byte(n)}, p[:n]...)
		if err := s.write(append(payload, 0)); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (s *exchangeServer) WriteEnd() error { return s.write([]byte{typeEndResponse, 1}) }
