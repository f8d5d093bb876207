package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/wstunnel"
)

// wsFamily is a reverse proxy of WebSockets. "bytes" is our proxy.Handler by
// itself, which does not follow the frames as package wstunnel does.
var wsFamily = &family{
	origin:     roleOf("origin", "wsorigin"),
	webSockets: true,
	peers: []peer{
		roleOf("modproxy", "wstunnel"),
		roleOf("bytes", "upgrades"),
		httputilPeer,
		{name: "apache", programs: apachePeer.programs, debian: apachePeer.debian, command: func(j job) ([]string, error) {
			// A tunnel keeps a thread.
			return apacheCommand(j, "proxy proxy_http", fmt.Sprintf(`ServerLimit 1
StartServers 1
ThreadLimit %[1]d
ThreadsPerChild %[1]d
MaxRequestWorkers %[1]d
ProxyPass / http://%s/ upgrade=websocket
`, apacheTunnels, j.origin))
		}},
		{name: "nginx", programs: nginxPeer.programs, debian: nginxPeer.debian, command: func(j job) ([]string, error) {
			return nginxCommand(j, fmt.Sprintf(`server {
  listen %s;
  location / {
    proxy_pass http://%s;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection upgrade;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  }
}
`, j.listen, j.origin))
		}},
		{name: "haproxy", programs: haproxyPeer.programs, debian: haproxyPeer.debian, command: func(j job) ([]string, error) {
			return haproxyCommand(j, "  option splice-auto\n  timeout tunnel 60s\n")
		}},
		caddyPeer,
	},
}

// apacheTunnels is how many tunnels httpd has threads for.
const apacheTunnels = 2100

var wsWorkloads = []workload{
	{name: "wsidle", about: "idle WebSockets", family: wsFamily, path: "/echo", send: 64, want: 64, connections: 2000, idle: true},
	{name: "wsecho", about: "WebSocket message of 64 bytes, sent back", family: wsFamily, path: "/echo", send: 64, want: 64, connections: 64},
	{name: "wsbulk", about: "WebSocket message of 10 MB to the client", family: wsFamily, path: "/bytes/10485760", send: 1, want: 10 << 20, connections: 8},
	{name: "wsbulkup", about: "WebSocket message of 10 MB to the origin", family: wsFamily, path: "/sink", send: 10 << 20, want: int64(len(sinkAnswer)), connections: 8},
}

func newWSTunnel(to string) (http.Handler, error) { return wstunnel.NewHandler("/", to) }

func newUpgrades(to string) (http.Handler, error) {
	h, err := proxy.NewHandler("/", to)
	if err == nil {
		h.Upgrades = []string{"websocket"}
	}
	return h, err
}

// newWSOrigin answers each message: at /echo with itself, at /bytes/N with N
// bytes, at /sink with a word.
func newWSOrigin() http.Handler {
	data := bytes.Repeat([]byte("x"), maxOriginBytes)
	up := &websocket.Upgrader{ReadBufferSize: 64 << 10, WriteBufferSize: 1 << 10, CheckOrigin: func(*http.Request) bool { return true }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := []byte(nil)
		switch size, isBytes := strings.CutPrefix(r.URL.Path, "/bytes/"); {
		case isBytes:
			n, err := strconv.Atoi(size)
			if err != nil || n < 1 || n > maxOriginBytes {
				http.Error(w, "no such number of bytes", http.StatusBadRequest)
				return
			}
			answer = data[:n]
		case r.URL.Path == "/sink":
			answer = []byte(sinkAnswer)
		}
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return // it has answered
		}
		defer c.Close()
		prepared, err := websocket.NewPreparedMessage(websocket.BinaryMessage, answer)
		if err != nil {
			return
		}
		for {
			_, in, err := c.NextReader()
			if err != nil {
				return
			}
			if answer == nil {
				b, rerr := io.ReadAll(in)
				err = errors.Join(rerr, c.WriteMessage(websocket.BinaryMessage, b))
			} else if _, err = io.Copy(io.Discard, in); err == nil {
				err = c.WritePreparedMessage(prepared)
			}
			if err != nil {
				return
			}
		}
	})
}

// wsKey and wsAccept are the example of RFC 6455 section 1.3.
const (
	wsKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	wsAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// openWebSocket makes a connection a WebSocket.
func openWebSocket(c io.Writer, r *bufio.Reader, host, path string) error {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", path, host, wsKey); err != nil {
		return err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-Websocket-Accept") != wsAccept {
		return fmt.Errorf("no WebSocket: answered %s", resp.Status)
	}
	return nil
}

// wsMessage returns a client's binary message of n bytes in one frame. The mask
// is of zeros, so that it can be sent again and again.
func wsMessage(n int) []byte {
	b := []byte{0x80 | websocket.BinaryMessage}
	switch {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, 0, 0, 0, 0)
	return append(b, bytes.Repeat([]byte("x"), n)...)
}

// readWSMessage reads a server's message that must have n bytes.
func readWSMessage(r *bufio.Reader, n int64) error {
	for total, last := int64(0), false; !last; {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:2]); err != nil {
			return err
		}
		last = head[0]&0x80 != 0
		if op := head[0] & 0x0f; op != websocket.BinaryMessage && op != 0 {
			return fmt.Errorf("frame with opcode %d", op)
		}
		size := int64(head[1] & 0x7f)
		if size >= 126 {
			long := head[:2]
			if size == 127 {
				long = head[:]
			}
			if _, err := io.ReadFull(r, long); err != nil {
				return err
			}
			size = 0
			for _, b := range long {
				size = size<<8 | int64(b)
			}
		}
		if total += size; size < 0 || total > n || last && total != n {
			return fmt.Errorf("message of %d bytes, where %d were wanted", total, n)
		}
		if _, err := io.CopyN(io.Discard, r, size); err != nil {
			return err
		}
	}
	return nil
}
