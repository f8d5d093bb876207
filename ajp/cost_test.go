package ajp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: neither the packets of a container nor those of a web server cost
// more than their length.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	fields := map[string]func(n int) []byte{
		"many fields":  func(n int) []byte { return packedFields(n, func(i int) string { return fmt.Sprintf("X%06d", i) }, "") },
		"one field":    func(n int) []byte { return packedFields(n, func(int) string { return "A" }, "") },
		"lengths":      func(n int) []byte { return packedFields(n, func(int) string { return "Content-Length" }, "1") },
		"blanks":       func(n int) []byte { return packedFields(n, func(int) string { return "A" }, " \t ") },
		"a long field": func(n int) []byte { return packedField(nil, "A", strings.Repeat(" ", n-100)) },
	}
	for name, packed := range fields {
		inputs["SEND_HEADERS, "+name] = func(n int) func() {
			text := string(append(appendInt(appendString(appendInt(nil, 200), "OK"), fieldCount(packed(n))), packed(n)...))
			return func() {
				var h answerHead
				if parseSendHeaders(text, &h) == nil {
					_, _ = h.contentLength()
				}
			}
		}
		inputs["FORWARD_REQUEST, "+name] = func(n int) func() {
			text := forwardHead("/") + string(appendInt(nil, fieldCount(packed(n)))) + string(packed(n)) + "\xff"
			return func() { serveText(text) }
		}
	}
	for name, text := range map[string]func(n int) string{
		"path": func(n int) string { return forwardHead("/"+strings.Repeat("%2f;/..", n/14)) + "\x00\x00\xff" },
		"named attributes": func(n int) string {
			return forwardHead("/") + "\x00\x00" + strings.Repeat("\x0a\x00\x01a\x00\x00\x00\x00", n/8) + "\xff"
		},
		"attributes": func(n int) string {
			return forwardHead("/") + "\x00\x00" + strings.Repeat("\x03\x00\x00\x00", n/4) + "\xff"
		},
		"a certificate":        func(n int) string { return withAttribute(0x07, strings.Repeat("-----BEGIN A-----\n", n/36)) },
		"lines of certificate": func(n int) string { return withAttribute(0x07, "-----BEGIN A-----\n"+strings.Repeat("A: b\n", n/10)) },
		"query":                func(n int) string { return withAttribute(0x05, strings.Repeat("%&", n/4)) },
	} {
		inputs["FORWARD_REQUEST, "+name] = func(n int) func() {
			text := text(n)
			return func() { serveText(text) }
		}
	}
	head, ok := appendSendHeaders(nil, 200, http.Header{}, DefaultPacketSize)
	require.True(t, ok)
	end := []byte{0x41, 0x42, 0, 2, typeEndResponse, 0}
	for name, packet := range map[string][]byte{
		"chunks of one byte": appendChunk(nil, []byte("x")), "chunks of none": appendChunk(nil, nil), "requests for more": appendAsk(nil, 1),
	} {
		for _, piece := range []int{7, 1 << 20} {
			inputs[fmt.Sprintf("answer, %s, %d bytes at a time", name, piece)] = func(n int) func() {
				tr := newScripted(t, append(append(bytes.Clone(head), bytes.Repeat(packet, n/len(packet))...), end...), piece)
				r := httptest.NewRequest("GET", "ajp://h/", nil)
				return func() {
					resp, err := tr.RoundTrip(r)
					require.NoError(t, err)
					_, err = io.Copy(io.Discard, resp.Body)
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
				}
			}
		}
	}
	inputs["answer, interim"] = func(n int) func() {
		interim, _ := appendSendHeaders(nil, 103, http.Header{}, DefaultPacketSize)
		tr := newScripted(t, append(append(bytes.Repeat(interim, n/len(interim)), head...), end...), 1<<20)
		tr.MaxInterim = 1 << 30
		r := httptest.NewRequest("GET", "ajp://h/", nil)
		return func() {
			resp, err := tr.RoundTrip(r)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
	}
	inputs["body of a request in packets of one byte"] = func(n int) func() {
		text := forwardHead("/") + "\x00\x01" + string(packedField(nil, "Transfer-Encoding", "chunked")) + "\xff"
		packets := appendHead(nil)
		packets = append(append(packets, typeForwardRequest), text...)
		putHead(packets, toContainer, len(packets)-headSize)
		packets = append(append(packets, bytes.Repeat([]byte{0x12, 0x34, 0, 3, 0, 1, 'x'}, n/7)...), emptyPacket...)
		return func() {
			read := int64(0)
			s := &Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { read, _ = io.Copy(io.Discard, r.Body) })}
			newServerConn(s, &scripted{says: packets, piece: 1 << 20}, context.Background()).serve()
			require.EqualValues(t, n/7, read)
		}
	}
	for name, set := range map[string]func(r *http.Request, n int){
		"fields": func(r *http.Request, n int) {
			for i := range n / 12 {
				r.Header[fmt.Sprintf("X%06d", i)] = []string{"x"}
			}
		},
		"a path":  func(r *http.Request, n int) { r.URL.Path = "/" + strings.Repeat("\"/", n/4) },
		"a host":  func(r *http.Request, n int) { r.Host = strings.Repeat("a:", n/4) },
		"opaque":  func(r *http.Request, n int) { r.URL.Opaque = "//" + strings.Repeat("?/", n/4) },
		"address": func(r *http.Request, n int) { r.RemoteAddr = strings.Repeat("[:", n/4) },
	} {
		inputs["request, "+name] = func(n int) func() {
			tr := newScripted(t, append(bytes.Clone(head), end...), 1<<20)
			tr.PacketSize = MaxPacketSize
			r := httptest.NewRequest("GET", "ajp://h/", nil)
			set(r, n)
			return func() {
				if resp, err := tr.RoundTrip(r); err == nil {
					_ = resp.Body.Close()
				}
			}
		}
		inputs["servlet mapping, "+name] = func(n int) func() {
			h, err := NewHandler("/a/", "ajp://h/a/")
			require.NoError(t, err)
			h.Transport = refusing{}
			r := httptest.NewRequest("GET", "http://front.test/", nil)
			set(r, n)
			r.URL.Path += strings.Repeat("/;a/..;b", n/16)
			return func() { h.ServeHTTP(httptest.NewRecorder(), r) }
		}
	}
	parsertest.Linear(t, inputs)
}

func packedField(b []byte, name, value string) []byte {
	return appendString(appendString(b, name), value)
}

// packedFields is about n bytes of fields.
func packedFields(n int, name func(i int) string, value string) []byte {
	var b []byte
	for i := 0; len(b) < n-100; i++ {
		b = packedField(b, name(i), value)
	}
	return b
}

// fieldCount counts packed fields.
func fieldCount(packed []byte) int {
	n := 0
	for d := (decoder{s: string(packed)}); d.s != ""; n++ {
		_, _ = d.string()
		_, _ = d.string()
	}
	return n
}

// forwardHead is a FORWARD_REQUEST of a client with TLS, up to its fields, behind
// its type.
func forwardHead(path string) string {
	b := appendString(appendString([]byte{2}, "HTTP/1.1"), path)
	b = appendString(appendString(b, "1.1.1.1"), "")
	return string(append(appendInt(appendString(b, "h"), 80), 1))
}

func withAttribute(code byte, value string) string {
	return forwardHead("/") + "\x00\x00" + string(appendString([]byte{code}, value)) + "\xff"
}

// serveText reads a FORWARD_REQUEST as a server does.
func serveText(text string) {
	var fr forwardRequest
	if parseForwardRequest(text, &fr) != nil {
		return
	}
	c := &serverConn{s: &Server{AllowAttribute: func(string) bool { return true }}, size: MaxPacketSize, nc: nowhere{}}
	if status, _ := c.s.admit(&fr); status == 0 {
		_, _ = c.newRequest(context.Background(), &fr)
	}
}

// refusing is a transport that answers without a container.
type refusing struct{}

func (refusing) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, &exchange.Error{Op: exchange.OpDial, Err: io.EOF}
}
