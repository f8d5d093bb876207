package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// memoryListener is a listener whose connections are pipes.
type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newMemoryListener() *memoryListener {
	return &memoryListener{make(chan net.Conn), make(chan struct{})}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error   { close(l.closed); return nil }
func (l *memoryListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *memoryListener) dial(context.Context, string, string) (net.Conn, error) {
	a, b := net.Pipe()
	l.conns <- b
	return a, nil
}

// roundTripFunc is a transport.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestHTTP2AnswerDoesNotWaitForTheRequest: an answer that comes before the
// end of the request is complete at once, and one without a body is one frame:
// gRPC clients take a head and an empty body for an answer without its status.
func TestHTTP2AnswerDoesNotWaitForTheRequest(t *testing.T) {
	for name, read := range map[string]bool{"body untouched": false, "body being read": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &Handler{Target: mustParse(t, "http://backend.test"), Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
					if read {
						begun := make(chan struct{})
						go func() {
							b := make([]byte, 1)
							_, _ = r.Body.Read(b)
							close(begun)
							_, _ = r.Body.Read(b) // until the handler is done
						}()
						<-begun
					}
					return &http.Response{StatusCode: 200, Header: http.Header{"Grpc-Status": {"12"}}, Body: http.NoBody, Request: r}, nil
				})}
				l := newMemoryListener()
				s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
				s.Protocols.SetUnencryptedHTTP2(true)
				served := make(chan error, 1)
				go func() { served <- s.Serve(l) }()
				tr := &http.Transport{DialContext: l.dial, Protocols: s.Protocols}
				start := time.Now()
				pr, pw := io.Pipe()
				go func() { _, _ = pw.Write([]byte("x")) }()
				req, err := http.NewRequest("POST", "http://front.test/", pr)
				require.NoError(t, err)
				resp, err := tr.RoundTrip(req)
				require.NoError(t, err)
				require.Zero(t, resp.ContentLength, "known only if the stream ended with its head")
				require.Equal(t, "12", resp.Header.Get("Grpc-Status"))
				require.Zero(t, time.Since(start))
				_ = pw.CloseWithError(errors.New("done"))
				tr.CloseIdleConnections()
				require.NoError(t, s.Close())
				require.ErrorIs(t, <-served, http.ErrServerClosed)
			})
		})
	}
}
