package wstunnel

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// gorilla/websocket makes a connection out of a handshake alone. The two
// handshakes of a tunnel were made by the proxy, with all that goes with them,
// so it is led through one that nobody sees.

const (
	readBuffer  = 1 << 10 // held as long as the connection
	writeBuffer = 8 << 10 // lent while a message is written
)

// writeBuffers lends them.
var writeBuffers = new(sync.Pool)

// wire is a connection during the unseen handshake and after it. It notes when
// the peer was last heard of, and checks its frames.
type wire struct {
	net.Conn
	heard  atomic.Int64 // as time since some epoch
	frames frames       // of the peer

	unseen bool         // the handshake goes on; only before the wire is shared
	sent   bytes.Buffer // its request
	answer []byte       // what is left of its answer
}

var epoch = time.Now()

func (w *wire) Read(p []byte) (int, error) {
	if w.unseen {
		if w.answer == nil {
			w.answer = w.answerTo()
		}
		n := copy(p, w.answer)
		if w.answer = w.answer[n:]; n == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		return n, nil
	}
	if w.frames.over != nil {
		return 0, w.frames.over
	}
	n, err := w.Conn.Read(p)
	w.heard.Store(int64(time.Since(epoch)))
	if n, over := w.frames.check(p[:n]); over != nil {
		return n, over
	}
	return n, err
}

func (w *wire) Write(p []byte) (int, error) {
	if w.unseen {
		return w.sent.Write(p)
	}
	return w.Conn.Write(p)
}

func (w *wire) SetDeadline(t time.Time) error {
	if w.unseen {
		return nil
	}
	return w.Conn.SetDeadline(t)
}

// answerTo answers the request of the unseen handshake.
func (w *wire) answerTo() []byte {
	r, err := http.ReadRequest(bufio.NewReader(&w.sent))
	if err != nil {
		return []byte{}
	}
	head := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + acceptOf(r.Header.Get(fieldKey)) + "\r\n"
	if r.Header[fieldExtensions] != nil {
		head += "Sec-WebSocket-Extensions: " + deflate + "\r\n"
	}
	return []byte(head + "\r\n")
}

func (w *wire) begin() {
	w.unseen = false
	w.sent, w.answer = bytes.Buffer{}, nil
	w.heard.Store(int64(time.Since(epoch)))
}

// silence is how long nothing has come.
func (w *wire) silence() time.Duration { return time.Since(epoch) - time.Duration(w.heard.Load()) }

// dialed makes the backend's connection one of messages.
func dialed(nc net.Conn, compressed bool) (*peer, error) {
	w := &wire{Conn: nc, unseen: true, frames: frames{deflate: compressed}}
	d := websocket.Dialer{
		NetDial:        func(string, string) (net.Conn, error) { return w, nil },
		ReadBufferSize: readBuffer, WriteBufferSize: writeBuffer, WriteBufferPool: writeBuffers,
		EnableCompression: compressed,
	}
	c, _, err := d.Dial("ws://backend/", nil)
	if err != nil {
		return nil, err
	}
	w.begin()
	return &peer{Conn: c, wire: w}, nil
}

// accepted makes the client's connection one of messages.
func accepted(nc net.Conn, compressed bool) (*peer, error) {
	w := &wire{Conn: nc, unseen: true, frames: frames{masked: true, deflate: compressed}}
	u := websocket.Upgrader{
		ReadBufferSize: readBuffer, WriteBufferSize: writeBuffer, WriteBufferPool: writeBuffers,
		EnableCompression: compressed,
		CheckOrigin:       func(*http.Request) bool { return true },
	}
	r := &http.Request{Method: http.MethodGet, Header: http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, fieldVersion: {"13"}, fieldKey: {"AAAAAAAAAAAAAAAAAAAAAA=="},
		fieldExtensions: {deflate},
	}}
	c, err := u.Upgrade(&unseenWriter{wire: w}, r, nil)
	if err != nil {
		return nil, err
	}
	w.begin()
	return &peer{Conn: c, wire: w}, nil
}

// unseenWriter is what the unseen handshake of the client is answered to.
type unseenWriter struct {
	wire   *wire
	header http.Header
}

func (u *unseenWriter) Header() http.Header {
	if u.header == nil {
		u.header = make(http.Header)
	}
	return u.header
}
func (u *unseenWriter) Write(p []byte) (int, error) { return len(p), nil }
func (u *unseenWriter) WriteHeader(int)             {}

func (u *unseenWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return u.wire, bufio.NewReadWriter(bufio.NewReaderSize(u.wire, 16), bufio.NewWriterSize(u.wire, 16)), nil
}
