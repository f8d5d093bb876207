package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestNoContentKeepsTheConnection: an answer without content may tell a length
// all the same, by which nothing is cut off: the client's connection serves the
// next request. Over every protocol toward the backend, and whether the status
// is the backend's or one that ModifyResponse has set.
func TestNoContentKeepsTheConnection(t *testing.T) {
	backends := map[string]func(w http.ResponseWriter, r *http.Request, status int){
		"length": func(w http.ResponseWriter, r *http.Request, status int) {
			w.Header().Set("Content-Length", "10")
			w.WriteHeader(status)
		},
		"length, the end later": func(w http.ResponseWriter, r *http.Request, status int) {
			w.Header().Set("Content-Length", "10")
			w.WriteHeader(status)
			_ = http.NewResponseController(w).Flush()
		},
		"no length": func(w http.ResponseWriter, r *http.Request, status int) { w.WriteHeader(status) },
	}
	for protocol, start := range protocols {
		for kind, answer := range backends {
			for _, tc := range []struct {
				method       string
				status, sent int // by the backend, and to the client
			}{
				{"GET", 304, 304}, {"GET", 204, 204}, {"HEAD", 200, 200}, {"HEAD", 304, 304},
				{"GET", 200, 304}, {"GET", 200, 204}, {"GET", 200, 205}, {"GET", 304, 200}, {"GET", 304, 204}, {"HEAD", 200, 304},
			} {
				t.Run(fmt.Sprintf("%s, %s, %s %d as %d", protocol, kind, tc.method, tc.status, tc.sent), func(t *testing.T) {
					u, b := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						answer(w, r, tc.status)
						if tc.status == 200 && r.Method == "GET" {
							_, _ = io.WriteString(w, "0123456789")
						}
					}))
					h := &Handler{Target: u, Transport: &Transport{Backend: b}}
					t.Cleanup(h.CloseIdleConnections)
					if tc.status != tc.sent {
						h.ModifyResponse = func(resp *http.Response) error { resp.StatusCode = tc.sent; return nil }
					}
					c, err := net.Dial("tcp", frontOf(t, h).Listener.Addr().String())
					require.NoError(t, err)
					defer c.Close()
					require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
					r := bufio.NewReader(c)
					for range 3 {
						_, err = io.WriteString(c, tc.method+" / HTTP/1.1\r\nHost: x\r\n\r\n")
						require.NoError(t, err)
						resp, err := http.ReadResponse(r, &http.Request{Method: tc.method})
						require.NoError(t, err)
						require.Equal(t, tc.sent, resp.StatusCode)
						require.Empty(t, body(t, resp))
						require.False(t, resp.Close)
						if tc.sent == 204 || tc.sent == 304 {
							require.Empty(t, resp.Header["Content-Length"])
						}
					}
				})
			}
		}
	}
}

// TestNoContentToAClientOfHTTP2 ends with its head.
func TestNoContentToAClientOfHTTP2(t *testing.T) {
	for protocol, start := range protocols {
		for _, status := range []int{204, 304} {
			for _, modified := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %d, modified: %v", protocol, status, modified), func(t *testing.T) {
					u, b := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Content-Length", "2")
						if !modified {
							w.WriteHeader(status)
							_ = http.NewResponseController(w).Flush()
							return
						}
						_, _ = io.WriteString(w, "ab")
					}))
					h := &Handler{Target: u, Transport: &Transport{Backend: b}, ModifyResponse: func(resp *http.Response) error {
						resp.StatusCode = status
						return nil
					}}
					t.Cleanup(h.CloseIdleConnections)
					front, hc := h2Front(t, h)
					resp, err := hc.Get(front)
					require.NoError(t, err)
					require.Equal(t, status, resp.StatusCode)
					require.Empty(t, body(t, resp))
					require.Empty(t, resp.Header["Content-Length"])
				})
			}
		}
	}
}

// TestTransportNoContent: whoever uses the Transport alone reads nothing, without
// an error.
func TestTransportNoContent(t *testing.T) {
	for protocol, start := range protocols {
		for _, status := range []int{204, 304} {
			t.Run(fmt.Sprint(protocol, status), func(t *testing.T) {
				u, b := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Length", "10")
					w.WriteHeader(status)
					_ = http.NewResponseController(w).Flush()
				}))
				tr := &Transport{Backend: b}
				t.Cleanup(tr.CloseIdleConnections)
				req, _ := http.NewRequest("GET", u.String(), nil)
				resp, err := tr.RoundTrip(req)
				require.NoError(t, err)
				require.Empty(t, body(t, resp))
				require.GreaterOrEqual(t, resp.ContentLength, int64(0))
				require.Equal(t, status == 304 && resp.ProtoMajor == 2, resp.Header["Content-Length"] != nil, "net/http has none over HTTP/1")
			})
		}
	}
}

// TestStatusOfAFinalAnswer: what is none, be it of a foreign transport or of
// ModifyResponse, is an error and no second head.
func TestStatusOfAFinalAnswer(t *testing.T) {
	o := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	for _, status := range []int{-1, 0, 99, 100, 101, 103, 199, 1000} {
		h, _, _ := handlerFor(t, o.url())
		h.ModifyResponse = func(resp *http.Response) error { resp.StatusCode = status; return nil }
		var failed error
		h.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
			failed = err
			w.WriteHeader(exchange.StatusOf(err))
		}
		resp, err := client(t).Get(frontOf(t, h).URL)
		require.NoError(t, err)
		require.Empty(t, body(t, resp))
		require.Equal(t, http.StatusBadGateway, resp.StatusCode, "%d", status)
		var e *exchange.Error
		require.True(t, errors.As(failed, &e))
	}
}
