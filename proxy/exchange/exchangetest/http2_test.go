package exchangetest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

func TestHTTP2(t *testing.T) {
	TestTransport(t, Protocol{
		URL:       "h2c://backend.test/dir",
		Transport: func(b *backend.Backend) http.RoundTripper { return &proxy.Transport{Backend: b} },
		Server:    func(c net.Conn) Server { return newHTTP2Server(c) },
		Lacks: map[string]string{
			oneForEach: "exchanges share a connection",
			"answer when nothing can be sent any more":              "exchanges share a connection, which is given up",
			"answer that goes on when nothing can be sent any more": "exchanges share a connection, which is given up",
			"backend closes in the head":                            "half a frame cannot be told from none",
		},
	})
}

// http2Server is a server of HTTP/2 that serves one stream after the other.
type http2Server struct {
	c       net.Conn
	f       *http2.Framer
	begun   bool
	streams map[uint32]*http2Stream
	queue   []*http2Stream
	now     *http2Stream
	ended   bool // the answer has no body
}

type http2Stream struct {
	id            uint32
	r             *http.Request
	data          bytes.Buffer
	ended, broken bool
}

func newHTTP2Server(c net.Conn) *http2Server {
	s := &http2Server{c: c, f: http2.NewFramer(c, c), streams: make(map[uint32]*http2Stream)}
	s.f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	return s
}

func (s *http2Server) ReadRequest() (*http.Request, error) {
	if !s.begun {
		s.begun = true
		if _, err := io.ReadFull(s.c, make([]byte, len(http2.ClientPreface))); err != nil {
			return nil, err
		}
		if err := s.f.WriteSettings(); err != nil {
			return nil, err
		}
	}
	for len(s.queue) == 0 {
		if err := s.readFrame(); err != nil {
			return nil, err
		}
	}
	s.now, s.queue = s.queue[0], s.queue[1:]
	return s.now.r, nil
}

// readFrame reads a frame, of whatever stream.
func (s *http2Server) readFrame() error {
	frame, err := s.f.ReadFrame()
	if err != nil {
		return err
	}
	st := s.streams[frame.Header().StreamID]
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return s.f.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return s.f.WritePing(true, f.Data)
		}
	case *http2.MetaHeadersFrame:
		st = &http2Stream{id: f.StreamID, ended: f.StreamEnded()}
		length, err := strconv.ParseInt(fieldOf(f, "content-length"), 10, 64)
		if err != nil {
			length = -1
		}
		st.r = &http.Request{Method: f.PseudoValue("method"), URL: &url.URL{Path: f.PseudoValue("path")}, ContentLength: length, Body: io.NopCloser(&http2Body{s, st})}
		s.streams[f.StreamID] = st
		s.queue = append(s.queue, st)
	case *http2.DataFrame:
		if st == nil {
			return nil
		}
		st.data.Write(f.Data())
		st.ended = st.ended || f.StreamEnded()
		if n := f.Header().Length; n > 0 && !st.ended {
			if err := s.f.WriteWindowUpdate(st.id, n); err != nil {
				return err
			}
		}
		if n := f.Header().Length; n > 0 {
			return s.f.WriteWindowUpdate(0, n)
		}
	case *http2.RSTStreamFrame:
		if st != nil {
			st.broken = true
		}
	}
	return nil
}

func fieldOf(f *http2.MetaHeadersFrame, name string) string {
	for _, field := range f.RegularFields() {
		if field.Name == name {
			return field.Value
		}
	}
	return ""
}

// http2Body is the body of a request.
type http2Body struct {
	s  *http2Server
	st *http2Stream
}

func (b *http2Body) Read(p []byte) (int, error) {
	for b.st.data.Len() == 0 {
		switch {
		case b.st.broken:
			return 0, io.ErrUnexpectedEOF
		case b.st.ended:
			return 0, io.EOF
		}
		if err := b.s.readFrame(); err != nil {
			return 0, err
		}
	}
	return b.st.data.Read(p)
}

func (s *http2Server) writeFields(status int, h http.Header, end bool) error {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	fields := []hpack.HeaderField{{Name: ":status", Value: fmt.Sprint(status)}}
	for name, values := range h {
		fields = append(fields, hpack.HeaderField{Name: strings.ToLower(name), Value: values[0]})
	}
	for _, f := range fields {
		if err := enc.WriteField(f); err != nil {
			return err
		}
	}
	return s.f.WriteHeaders(http2.HeadersFrameParam{StreamID: s.now.id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
}

func (s *http2Server) WriteHead(status int, h http.Header) error {
	s.ended = status == http.StatusNoContent || status == http.StatusNotModified || s.now.r.Method == http.MethodHead
	return s.writeFields(status, h, s.ended)
}

func (s *http2Server) WriteInterim(status int, h http.Header) error {
	return s.writeFields(status, h, false)
}

func (s *http2Server) WriteBody(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), 16<<10)
		if err := s.f.WriteData(s.now.id, false, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (s *http2Server) WriteEnd() error {
	if s.ended {
		return nil
	}
	return s.f.WriteData(s.now.id, true, nil)
}
