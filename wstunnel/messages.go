package wstunnel

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/tunnel"
)

// Messages has a [Handler] read WebSockets as messages and pass each on whole:
// what breaks the protocol ends at the proxy. Both sides have a connection of
// their own, with a compression of its own. Set the fields before the first
// request.
type Messages struct {
	// MaxSize limits a message, in bytes after decompression. Who sends a longer
	// one is told 1009. Zero means 16 MiB; negative means no limit.
	MaxSize int64

	// OnMessage, if not nil, is called with each message, text or binary, before
	// it is passed on, and may change it. It is called by one goroutine for each
	// direction. Its error [ErrDrop] has the message left out; a [*CloseError]
	// closes the connection with that code, any other error, and a panic, with
	// 1011. The side that sent the message gets that code, the other 1001. Without
	// OnMessage, a message is passed on while it comes in.
	OnMessage func(*Message) error

	// PingInterval is how long a side may be silent before it is sent a Ping. It
	// has then PongTimeout to say anything, or the tunnel ends with
	// [ErrPingTimeout]. Pings count as bytes that move: no tunnel is idle with
	// them. Zero sends none.
	PingInterval time.Duration

	// PongTimeout is how long a side may stay silent after a Ping. Zero means
	// PingInterval.
	PongTimeout time.Duration

	// CompressClient accepts permessage-deflate (RFC 7692) from clients that
	// offer it, CompressBackend offers it to backends. A client's own offer is
	// never passed on.
	CompressClient, CompressBackend bool
}

// DefaultMaxSize is the MaxSize of Messages.
const DefaultMaxSize = 16 << 20

// Message is a message on its way.
type Message struct {
	// Request is the handshake of the client. It must not be changed.
	Request *http.Request

	// FromBackend says which way the message goes.
	FromBackend bool

	// Text says that Data is UTF-8, which is checked after OnMessage too.
	Text bool

	// Data is the payload. It may be changed or replaced, and must not be kept.
	Data []byte
}

// CloseError closes a WebSocket with a code of RFC 6455 section 7.4. 1005 stands
// for a Close without one; 1011 is sent for a code that may not be.
type CloseError struct {
	Code   int
	Reason string // at most 123 bytes are sent
}

// Error names the code and the reason.
func (e *CloseError) Error() string {
	return fmt.Sprintf("wstunnel: closed with code %d: %s", e.Code, e.Reason)
}

// Errors of message mode.
var (
	// ErrDrop is returned by OnMessage to leave a message out.
	ErrDrop = errors.New("message is left out")

	// ErrPingTimeout is the cause of a tunnel one side of which did not answer
	// a Ping.
	ErrPingTimeout = errors.New("ping was not answered in time")
)

// offer gives the handshake to the backend the extensions of the proxy.
func (m *Messages) offer(h http.Header, hs *handshake) {
	hs.compressed = false
	if m.CompressClient {
		for _, e := range hs.extensions {
			hs.compressed = hs.compressed || e.acceptsDeflate()
		}
	}
	delete(h, fieldExtensions)
	if m.CompressBackend {
		h[fieldExtensions] = []string{deflate}
	}
}

// join has a tunnel moved by messages.
func (m *Messages) join(resp *http.Response, tn *tunnel.Tunnel) error {
	hs, _ := resp.Request.Context().Value(handshakeKey{}).(*handshake)
	if hs == nil {
		return errors.New("transport has lost the context of the request")
	}
	compressed := false
	extensions, err := parseExtensions(resp.Header[fieldExtensions])
	for _, e := range extensions { // each was offered: that has been checked
		compressed = compressed || strings.EqualFold(e.name, "permessage-deflate")
		err = errors.Join(err, e.checkDeflate())
	}
	if err != nil {
		return fmt.Errorf("%w: %w", exchange.ErrMalformed, err)
	}
	delete(resp.Header, fieldExtensions)
	if hs.compressed {
		resp.Header[fieldExtensions] = []string{deflate}
	}
	s := &session{m: m, request: hs.request}
	tn.Join = func(client, backend net.Conn) error {
		c, err := accepted(client, hs.compressed)
		if err != nil {
			return err
		}
		b, err := dialed(backend, compressed)
		if err != nil {
			return err
		}
		return s.run(c, b)
	}
	tn.Leave = func(error) { go s.leave() }
	return nil
}

// maxSize is the limit on a message.
func (m *Messages) maxSize() int64 { return exchange.Limit(m.MaxSize, DefaultMaxSize) }

// closeCode is what the sender of a message that was refused is told.
func closeCode(err error) *CloseError {
	var ce *CloseError
	if errors.As(err, &ce) && (validCode(ce.Code) || ce.Code == websocket.CloseNoStatusReceived) {
		return ce
	}
	return &CloseError{Code: websocket.CloseInternalServerErr}
}
