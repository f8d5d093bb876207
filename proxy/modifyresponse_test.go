package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestUnreadBodyIsNotTheNextRequest: where a page takes the place of the
// answer, too, the connection ends if the client has not sent all of its body.
func TestUnreadBodyIsNotTheNextRequest(t *testing.T) {
	for name, h := range map[string]*Handler{
		"answer":         {},
		"error override": {ErrorOverride: &ErrorOverride{}},
		"error page":     {ModifyResponse: func(*http.Response) error { return io.EOF }},
	} {
		t.Run(name, func(t *testing.T) {
			h.Target = newOrigin(t, func(c *originConn, _ int) {
				c.head()
				c.say("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
				c.untilClosed()
			}).url()
			c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
			_, err = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nGET")
			require.NoError(t, err)
			r := bufio.NewReader(c)
			resp, err := http.ReadResponse(r, nil)
			require.NoError(t, err)
			_ = body(t, resp)
			require.True(t, resp.Close)
			_, err = r.ReadByte()
			require.ErrorIs(t, err, io.EOF)
		})
	}
}

// closeNoter is a body that knows whether it was closed.
type closeNoter struct {
	io.Reader
	closed bool
}

func (c *closeNoter) Close() error {
	c.closed = true
	return nil
}

// TestModifyResponsePutsIn: as with httputil, what the function puts into the answer
// is passed on, and a body that it puts in is closed.
func TestModifyResponsePutsIn(t *testing.T) {
	first, second := &closeNoter{Reader: strings.NewReader("one")}, &closeNoter{Reader: strings.NewReader("two")}
	transport := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{"Connection": {"X-Hop"}, "X-Hop": {"theirs"}, "X-End": {"a"}}, Body: first, ContentLength: 3, Request: r}, nil
	})
	h := &Handler{Target: mustParse(t, "http://b.test/"), Transport: transport, ModifyResponse: func(resp *http.Response) error {
		require.Equal(t, http.Header{"X-End": {"a"}}, resp.Header)
		resp.Header["X-Hop"], resp.Header["Connection"], resp.Body = []string{"ours"}, []string{"close"}, second
		return nil
	}}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, "two", w.Body.String())
	require.Equal(t, "ours", w.Header().Get("X-Hop"))
	require.Equal(t, "close", w.Header().Get("Connection"))
	require.True(t, first.closed)
	require.True(t, second.closed)
}

// TestRewriteOfTheBody: GetBody returns what is sent, or is not there.
func TestRewriteOfTheBody(t *testing.T) {
	for name, tc := range map[string]struct {
		rewrite func(pr *httputil.ProxyRequest)
		again   string
	}{
		"left alone": {func(*httputil.ProxyRequest) {}, "client's"},
		"replaced":   {func(pr *httputil.ProxyRequest) { pr.Out.Body = io.NopCloser(strings.NewReader("other")) }, ""},
		"with its own": {func(pr *httputil.ProxyRequest) {
			pr.Out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("other")), nil }
			pr.Out.Body, _ = pr.Out.GetBody()
		}, "other"},
	} {
		t.Run(name, func(t *testing.T) {
			again := ""
			h := &Handler{Target: mustParse(t, "http://b.test/"), Rewrite: tc.rewrite, Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
				if r.GetBody != nil {
					b, err := r.GetBody()
					require.NoError(t, err)
					text, err := io.ReadAll(b)
					require.NoError(t, err)
					again = string(text)
				}
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
			})}
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("PUT", "/", strings.NewReader("client's")))
			require.Equal(t, tc.again, again)
		})
	}
}

// TestModifyResponsePutsInAStream: a body that is put in and writes itself need
// not know that pauses are to be flushed.
func TestModifyResponsePutsInAStream(t *testing.T) {
	next := make(chan struct{})
	defer close(next)
	h := &Handler{ModifyResponse: func(r *http.Response) error {
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader("first "), io.TeeReader(r.Body, io.Discard)))
		return nil
	}}
	h.Target = newOrigin(t, func(c *originConn, _ int) {
		c.head()
		c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nthen\r\n")
		<-next
	}).url()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, frontOf(t, h).URL, nil)
	require.NoError(t, err)
	resp, err := client(t).Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	got := make([]byte, len("first then"))
	_, err = io.ReadFull(resp.Body, got)
	require.NoError(t, err)
	require.Equal(t, "first then", string(got))
}
