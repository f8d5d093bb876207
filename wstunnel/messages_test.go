package wstunnel

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/tunnel"
)

// statsOf has the end of each tunnel told to the test.
func statsOf(h *Handler) <-chan tunnel.Stats {
	ended := make(chan tunnel.Stats, 100)
	h.Proxy.OnTunnel = func(_ *http.Response, tn *tunnel.Tunnel) error {
		tn.OnEnd = func(s tunnel.Stats) { ended <- s }
		return nil
	}
	return ended
}

// TestOnMessage: messages are seen, changed, left out and refused, whichever
// side they come from.
func TestOnMessage(t *testing.T) {
	h := handlerTo(t, echoServer(t, websocket.Upgrader{}).URL)
	h.Messages = &Messages{OnMessage: func(m *Message) error {
		require.Equal(t, "/room", m.Request.URL.Path)
		require.Equal(t, "me", m.Request.Header.Get("X-User"))
		switch s := string(m.Data); {
		case m.FromBackend:
			m.Data = append(m.Data, " back"...)
		case s == "drop":
			return ErrDrop
		case s == "refuse":
			return &CloseError{Code: 4403, Reason: strings.Repeat("ü", 100)}
		case s == "no code":
			return &CloseError{Code: 1006}
		case s == "fail":
			return errors.New("a secret")
		case s == "panic":
			panic("a secret")
		case s == "break":
			m.Data = []byte{0xff}
		default:
			m.Data = bytes.ToUpper(m.Data)
			m.Text = true
		}
		return nil
	}}
	ended := statsOf(h)
	front := serve(t, h)
	for text, code := range map[string]int{"refuse": 4403, "fail": websocket.CloseInternalServerErr, "no code": websocket.CloseInternalServerErr, "panic": websocket.CloseInternalServerErr, "break": websocket.CloseInternalServerErr} {
		c := dial(t, nil, wsURL(front)+"/room", http.Header{"X-User": {"me"}})
		require.NoError(t, c.WriteMessage(websocket.BinaryMessage, []byte("hello")))
		require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte("drop")))
		kind, got, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, websocket.TextMessage, kind)
		require.Equal(t, "HELLO back", string(got))
		require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte(text)))
		_, _, err = c.ReadMessage()
		var ce *websocket.CloseError
		require.ErrorAs(t, err, &ce)
		require.Equal(t, code, ce.Code)
		require.NotContains(t, ce.Text, "secret")
		if text == "refuse" {
			require.Equal(t, strings.Repeat("ü", 61), ce.Text)
		}
		require.Error(t, (<-ended).Err)
	}
}

// TestMaxSize: who sends more than may be is told 1009, and the other side
// 1001; compressed or not, in one frame or many.
func TestMaxSize(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		for _, hook := range []bool{false, true} {
			for _, fragments := range []bool{false, true} {
				codes := make(chan int, 10)
				back := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
					if err != nil {
						return
					}
					defer c.Close()
					for {
						_, data, err := c.ReadMessage()
						if err != nil {
							ce, _ := err.(*websocket.CloseError)
							codes <- ce.Code
							return
						}
						_ = c.WriteMessage(websocket.BinaryMessage, append(data, data...))
					}
				}))
				h := handlerTo(t, back.URL)
				h.Messages = &Messages{MaxSize: 10_000, CompressClient: true}
				if hook {
					h.Messages.OnMessage = func(*Message) error { return nil }
				}
				front := serve(t, h)
				send := func(c *websocket.Conn, n int) {
					w, err := c.NextWriter(websocket.BinaryMessage)
					require.NoError(t, err)
					for n > 0 {
						piece := n
						if fragments {
							piece = min(n, 4096)
						}
						_, _ = w.Write(make([]byte, piece))
						n -= piece
					}
					_ = w.Close()
				}
				c := dial(t, &websocket.Dialer{EnableCompression: compressed}, wsURL(front), nil)
				send(c, 5000)
				_, got, err := c.ReadMessage()
				require.NoError(t, err)
				require.Len(t, got, 10_000)
				send(c, 10_001)
				_, _, err = c.ReadMessage()
				require.True(t, websocket.IsCloseError(err, websocket.CloseMessageTooBig), "%v", err)
				require.Equal(t, websocket.CloseGoingAway, <-codes)
				_ = c.Close()

				c = dial(t, &websocket.Dialer{EnableCompression: compressed}, wsURL(front), nil)
				send(c, 6000) // the answer is too long
				for err = nil; err == nil; {
					_, _, err = c.ReadMessage()
				}
				require.True(t, websocket.IsCloseError(err, websocket.CloseGoingAway), "%v", err)
				require.Equal(t, websocket.CloseMessageTooBig, <-codes)
				_ = c.Close()
				nothingLeft(t, h, 0)
			}
		}
	}
}

// TestMalformedCompression is 1007.
func TestMalformedCompression(t *testing.T) {
	h := handlerTo(t, echoServer(t, websocket.Upgrader{}).URL)
	h.Messages = &Messages{CompressClient: true}
	_, r := rawDial(t, serve(t, h), handshake0+"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n\xc1\x83\x00\x00\x00\x00\xff\xff\xff")
	require.Equal(t, deflate, answerOf(t, r).Header.Get(fieldExtensions))
	frame := make([]byte, 4)
	_, err := io.ReadFull(r, frame)
	require.NoError(t, err)
	require.Equal(t, "\x03\xef", string(frame[2:]))
}

// TestCompressionIsEachSidesOwn: which offers of a client are accepted, and
// what a backend may answer to the proxy's.
func TestCompressionIsEachSidesOwn(t *testing.T) {
	asked := make(chan string, 1)
	answer := ""
	back := scripted(t, func(c net.Conn, r *http.Request, buf *bufio.Reader) {
		asked <- r.Header.Get(fieldExtensions)
		var more []string
		if answer != "" {
			more = []string{"Sec-WebSocket-Extensions: " + answer}
		}
		_, _ = io.WriteString(c, switching(r, more...))
		_, _ = io.Copy(io.Discard, buf)
		_ = c.Close()
	})
	for _, tc := range []struct {
		client, backend bool // are to be compressed
		offer, accepted string
		answer          string
		status          int
	}{
		{false, false, "permessage-deflate", "", "", 101},
		{true, false, "", "", "", 101},
		{true, false, "permessage-deflate; client_max_window_bits", deflate, "", 101},
		{true, false, "permessage-deflate; client_max_window_bits=9; server_no_context_takeover", deflate, "", 101},
		{true, false, "permessage-deflate; server_max_window_bits=10", "", "", 101},
		{true, false, "permessage-deflate; server_max_window_bits=10, permessage-deflate", deflate, "", 101},
		{true, false, "permessage-deflate; server_max_window_bits=15", deflate, "", 101},
		{true, false, "permessage-deflate; client_max_window_bits=16", "", "", 101},
		{true, false, "permessage-deflate; server_no_context_takeover=1", "", "", 101},
		{true, false, "permessage-deflate; x", "", "", 101},
		{true, false, "permessage-deflate; client_max_window_bits; client_max_window_bits", "", "", 101},
		{true, false, "x-webkit-deflate-frame", "", "", 101},
		{true, true, "permessage-deflate", deflate, "", 101},
		{false, true, "permessage-deflate", "", deflate, 101},
		{false, true, "", "", "permessage-deflate; server_no_context_takeover", 101},
		{false, true, "", "", "permessage-deflate; server_no_context_takeover; server_max_window_bits=10", 101},
		{false, true, "", "", "permessage-deflate", 502},
		{false, true, "", "", "permessage-deflate; server_no_context_takeover; client_max_window_bits=10", 502},
		{false, true, "", "", "permessage-deflate; server_no_context_takeover; server_no_context_takeover", 502},
		{false, false, "permessage-deflate", "", deflate, 502},
	} {
		h := handlerTo(t, back)
		h.Messages = &Messages{CompressClient: tc.client, CompressBackend: tc.backend}
		answer = tc.answer
		ask := handshake0
		if tc.offer != "" {
			ask += "Sec-WebSocket-Extensions: " + tc.offer + "\r\n"
		}
		c, r := rawDial(t, serve(t, h), ask+"\r\n")
		resp := answerOf(t, r)
		require.Equal(t, tc.status, resp.StatusCode, "%+v", tc)
		require.Equal(t, tc.accepted, resp.Header.Get(fieldExtensions), "%+v", tc)
		want := ""
		if tc.backend {
			want = deflate
		}
		require.Equal(t, want, <-asked)
		_ = c.Close()
		nothingLeft(t, h, 0)
	}
}

// TestPings: a side that is silent is asked whether it is there; the Pings of
// the proxy are its own affair.
func TestPings(t *testing.T) {
	var backendSaid, clientSaid = make(chan string, 100), make(chan string, 100)
	back := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		if r.URL.Path == "/deaf" {
			c.SetPingHandler(func(string) error { return nil })
		}
		c.SetPongHandler(func(data string) error { clientSaid <- data; return nil })
		_, _, _ = c.ReadMessage()
	}))
	h := handlerTo(t, back.URL)
	h.Messages = &Messages{PingInterval: 20 * time.Millisecond, PongTimeout: time.Minute}
	ended := statsOf(h)
	front := serve(t, h)
	c := dial(t, nil, wsURL(front), nil)
	pings := make(chan string, 100)
	answer := c.PingHandler()
	c.SetPingHandler(func(data string) error { pings <- data; return answer(data) })
	c.SetPongHandler(func(data string) error { backendSaid <- data; return nil })
	go func() { _, _, _ = c.ReadMessage() }()
	first := <-pings
	for range 3 {
		require.Equal(t, first, <-pings)
	}
	require.NoError(t, c.WriteControl(websocket.PingMessage, []byte("mine"), time.Now().Add(patience)))
	require.Equal(t, "mine", <-backendSaid)
	require.Empty(t, backendSaid, "no Pong to the proxy's Pings is passed on")
	require.Empty(t, clientSaid)
	_ = c.Close()
	<-ended

	h = handlerTo(t, back.URL) // and one that does not answer
	h.Messages = &Messages{PingInterval: 20 * time.Millisecond}
	ended = statsOf(h)
	c = dial(t, nil, wsURL(serve(t, h))+"/deaf", nil)
	_, _, err := c.ReadMessage()
	require.True(t, websocket.IsCloseError(err, websocket.CloseAbnormalClosure) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE), "%v", err) // the latter two if a Pong was under way
	require.ErrorIs(t, (<-ended).Err, ErrPingTimeout)
}

// TestClosedWithoutAnswer: a backend that takes a Close for the end of the
// connection costs the client its answer no more.
func TestClosedWithoutAnswer(t *testing.T) {
	back := scripted(t, func(c net.Conn, r *http.Request, buf *bufio.Reader) {
		_, _ = io.WriteString(c, switching(r))
		_, _ = io.ReadFull(buf, make([]byte, 8)) // the Close
		_ = c.Close()
	})
	h := handlerTo(t, back)
	h.Messages = &Messages{}
	c := dial(t, nil, wsURL(serve(t, h)), nil)
	require.NoError(t, c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")))
	_, _, err := c.ReadMessage()
	require.True(t, websocket.IsCloseError(err, 1000), "%v", err)
	nothingLeft(t, h, 0)
}

// TestPingWaitsForSlowSide: a side that reads nothing for a while still gets the
// Ping that was on its way, and what comes behind it.
func TestPingWaitsForSlowSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, toClient := net.Pipe()
		backend, toBackend := net.Pipe()
		c, err := accepted(toClient, false)
		require.NoError(t, err)
		b, err := dialed(toBackend, false)
		require.NoError(t, err)
		over := make(chan struct{})
		go func() {
			defer close(over)
			_ = (&session{m: &Messages{}}).run(c, b)
		}()
		const frames = "\x89\x01p" + "\x82\x01m"
		go func() { _, _ = io.WriteString(backend, frames) }()
		time.Sleep(time.Minute)
		got := make([]byte, len(frames))
		_, err = io.ReadFull(client, got)
		require.NoError(t, err)
		require.Equal(t, frames, string(got))
		_ = client.Close()
		_ = backend.Close()
		<-over
	})
}
