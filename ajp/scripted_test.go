package ajp

import (
	"context"
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// nowhere is a connection that takes everything and says nothing.
type nowhere struct{}

func (nowhere) Read([]byte) (int, error)         { return 0, io.EOF }
func (nowhere) Write(p []byte) (int, error)      { return len(p), nil }
func (nowhere) Close() error                     { return nil }
func (nowhere) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (nowhere) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }
func (nowhere) SetDeadline(time.Time) error      { return nil }
func (nowhere) SetReadDeadline(time.Time) error  { return nil }
func (nowhere) SetWriteDeadline(time.Time) error { return nil }

// scripted is a container that says what it was told to, in pieces of a size,
// and then closes.
type scripted struct {
	nowhere
	says  []byte
	piece int
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.says) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.piece)], s.says)
	s.says = s.says[n:]
	return n, nil
}

// newScripted returns a Transport toward such a container.
func newScripted(t testing.TB, says []byte, piece int) *Transport {
	b := &backend.Backend{URL: &url.URL{Scheme: "ajp", Host: "h"}, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return &scripted{says: says, piece: piece}, nil
	}}
	t.Cleanup(func() { _ = b.Close() })
	return &Transport{Backend: b}
}
