package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/modproxy/modproxy/proxy"
)

// hinting is a backend that sends interim answers until its client has left.
type hinting struct{ fields int }

func (b hinting) RoundTrip(r *http.Request) (*http.Response, error) {
	hooks := httptrace.ContextClientTrace(r.Context())
	for r.Context().Err() == nil {
		h := make(textproto.MIMEHeader)
		for i := range b.fields {
			h.Set(fmt.Sprintf("X-Field-%d", i), "some value")
		}
		if err := hooks.Got1xxResponse(http.StatusEarlyHints, h); err != nil {
			return nil, err
		}
	}
	return nil, context.Cause(r.Context())
}

// TestInterimAnswersOutliveStreams: a client that resets its stream while an
// interim answer is being encoded disturbs nobody. It takes the race detector to
// see that what is encoded is not changed, or luck.
func TestInterimAnswersOutliveStreams(t *testing.T) {
	target, _ := url.Parse("http://backend.test/")
	for name, handler := range map[string]func(fields int) http.Handler{
		"proxy": func(fields int) http.Handler {
			return &proxy.Handler{Target: target, Transport: hinting{fields}}
		},
		"behind a cache": func(fields int) http.Handler {
			c := &Cache{Linger: -1}
			t.Cleanup(c.Close)
			return c.Wrap(&proxy.Handler{Target: target, Transport: hinting{fields}})
		},
		"a handler behind a cache": func(fields int) http.Handler {
			c := &Cache{Linger: -1}
			t.Cleanup(c.Close)
			return c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for i := range fields {
					w.Header().Set(fmt.Sprintf("X-Field-%d", i), "some value")
				}
				for r.Context().Err() == nil {
					w.WriteHeader(http.StatusEarlyHints)
				}
			}))
		},
	} {
		for _, fields := range []int{1, 10, 100} {
			t.Run(fmt.Sprintf("%s, %d fields", name, fields), func(t *testing.T) {
				s := httptest.NewUnstartedServer(handler(fields))
				s.Config.Protocols = new(http.Protocols)
				s.Config.Protocols.SetUnencryptedHTTP2(true)
				s.Start()
				defer s.Close()
				resetsStreams(t, s.Listener.Addr().String())
			})
		}
	}
}

// resetsStreams opens streams at a server of HTTP/2, and resets each some time
// after the first answer has come.
func resetsStreams(t *testing.T, addr string) {
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, http2.ClientPreface)
	require.NoError(t, err)
	out, in := http2.NewFramer(c, nil), http2.NewFramer(nil, c)
	require.NoError(t, out.WriteSettings())
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for id := uint32(1); id < 20; id += 2 {
		block.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "front.test"}, {":path", fmt.Sprint("/", id)}} {
			require.NoError(t, enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
		}
		require.NoError(t, out.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
		var reset time.Time // not yet
		for reset.IsZero() || time.Now().Before(reset) {
			f, err := in.ReadFrame()
			require.NoError(t, err)
			if h, ok := f.(*http2.HeadersFrame); ok && h.StreamID == id && reset.IsZero() {
				reset = time.Now().Add(time.Duration(id) * 50 * time.Microsecond)
			}
		}
		require.NoError(t, out.WriteRSTStream(id, http2.ErrCodeCancel))
	}
}
