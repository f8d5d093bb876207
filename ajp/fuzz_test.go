package ajp

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http/httpguts"
)

// FuzzForwardRequest gives the server's decoder any bytes. What it takes can
// be sent on by the encoder, and reads the same again.
func FuzzForwardRequest(f *testing.F) {
	b := golden(f, "httpd-forward-request.txt")
	f.Add(string(b[headSize+1:]))
	f.Add("\xff\x00\x01H\x00")
	f.Fuzz(func(t *testing.T, text string) {
		var fr forwardRequest
		if parseForwardRequest(text, &fr) != nil {
			return
		}
		c := &serverConn{s: &Server{}, size: MaxPacketSize}
		c.nc = nowhere{}
		r, err := c.newRequest(t.Context(), &fr)
		if err != nil || hasBlankOrControl(r.Host) {
			return
		}
		u := *r.URL
		u.Scheme, u.Host = "ajp", "h"
		out := r.Clone(r.Context())
		out.URL = &u
		fs := facts{host: r.Host, remoteAddr: r.RemoteAddr, named: fr.attributes.Named, secure: r.TLS != nil, tls: r.TLS}
		p, perr := appendForwardRequest(nil, out, bodyKindOf(out), &fs, MaxPacketSize)
		if perr != nil {
			return
		}
		var again forwardRequest
		require.NoError(t, parseForwardRequest(string(p[headSize+1:]), &again))
		require.Equal(t, fr.method, again.method)
		require.Equal(t, fr.secure, again.secure)
		require.Equal(t, fr.attributes.Named, again.attributes.Named)
	})
}

// FuzzSendHeaders gives the transport's decoder of heads any bytes. What it
// takes has only names and values that may be passed on.
func FuzzSendHeaders(f *testing.F) {
	b := golden(f, "tomcat-send-headers.txt")
	f.Add(string(b[headSize+1:]))
	f.Fuzz(func(t *testing.T, text string) {
		var h answerHead
		if parseSendHeaders(text, &h) != nil {
			return
		}
		require.NotEmpty(t, h.statusLine())
		for name, values := range h.header {
			require.True(t, httpguts.ValidHeaderFieldName(name))
			for _, v := range values {
				require.True(t, httpguts.ValidHeaderFieldValue(v))
			}
		}
		p, ok := appendSendHeaders(nil, h.status, h.header, MaxPacketSize)
		if !ok {
			return
		}
		var again answerHead
		require.NoError(t, parseSendHeaders(string(p[headSize+1:]), &again))
		require.Equal(t, h.status, again.status)
	})
}

// FuzzAnswer gives the transport whole conversations of a container, read in
// pieces of any size, by each of the ways to read a body.
func FuzzAnswer(f *testing.F) {
	head, _ := appendSendHeaders(nil, 200, http.Header{"Content-Length": {"5"}}, DefaultPacketSize)
	whole := append(appendChunk(head, []byte("hello")), 0x41, 0x42, 0, 2, 5, 1)
	f.Add(whole, byte(3), true)
	f.Add(whole, byte(200), false)
	open, _ := appendSendHeaders(nil, 200, nil, DefaultPacketSize)
	f.Add(append(appendChunk(appendChunk(open, bytes.Repeat([]byte("x"), 8184)), nil), 0x41, 0x42, 0, 2, 5, 0), byte(0), true)
	f.Add(append(appendAsk(nil, 100), whole...), byte(1), false)
	f.Fuzz(func(t *testing.T, conversation []byte, piece byte, bulk bool) {
		c := newScripted(t, conversation, int(piece)+1)
		r := &http.Request{Method: "GET", URL: &url.URL{Scheme: "ajp", Host: "h", Path: "/"}, Header: http.Header{}}
		resp, err := c.RoundTrip(r)
		if err != nil {
			return
		}
		var n int64
		if bulk {
			n, err = io.Copy(io.Discard, resp.Body)
		} else {
			n, err = io.Copy(struct{ io.Writer }{io.Discard}, bufio.NewReader(struct{ io.Reader }{resp.Body}))
		}
		if err == nil && resp.ContentLength > 0 && resp.Body != http.NoBody && resp.StatusCode != 304 {
			require.Equal(t, resp.ContentLength, n)
		}
		require.NoError(t, resp.Body.Close())
	})
}
