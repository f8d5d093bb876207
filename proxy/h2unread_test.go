package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/modproxy/modproxy/proxy/backend"
)

// scriptedBackend is a backend in memory; serve gets each connection.
func scriptedBackend(t *testing.T, scheme string, timeout time.Duration, serve func(c net.Conn, n int)) *backend.Backend {
	n := 0
	var mu sync.Mutex
	return &backend.Backend{
		URL: mustParse(t, scheme+"://b.test"), Timeout: timeout,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			n++
			own, other := net.Pipe()
			go func(n int) {
				defer other.Close()
				serve(other, n)
			}(n)
			return own, nil
		},
	}
}

// preface takes the begin of an HTTP/2 connection, and lets the client send
// as much as it likes.
func preface(c net.Conn) *http2.Framer {
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return nil
	}
	f := http2.NewFramer(c, c)
	for range 2 { // SETTINGS, WINDOW_UPDATE
		if _, err := f.ReadFrame(); err != nil {
			return nil
		}
	}
	_ = f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
	_ = f.WriteWindowUpdate(0, 1<<30)
	return f
}

// TestHTTP2BackendThatStopsReading: it holds up nobody for longer than its
// Timeout: neither the upload that it takes in, nor other requests, nor who
// closes connections or asks for figures; and nothing is left of it, whatever
// frames it goes on sending.
func TestHTTP2BackendThatStopsReading(t *testing.T) {
	const limit = 10 * time.Second
	for name, stray := range map[string]func(f *http2.Framer) error{
		"silent":       nil,
		"pings":        func(f *http2.Framer) error { return f.WritePing(false, [8]byte{1}) },
		"windows":      func(f *http2.Framer) error { return f.WriteWindowUpdate(0, 1) },
		"settings":     func(f *http2.Framer) error { return f.WriteSettings() },
		"unknown type": func(f *http2.Framer) error { return f.WriteRawFrame(0xf0, 0, 0, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := scriptedBackend(t, "h2c", limit, func(c net.Conn, n int) {
					f := preface(c)
					for stray != nil && f != nil && stray(f) == nil {
						time.Sleep(time.Second)
					}
					<-t.Context().Done()
				})
				tr := &Transport{Backend: b}
				begun := time.Now()
				var wg sync.WaitGroup
				send := func(ctx context.Context, method string, body io.ReadCloser, want int) {
					wg.Go(func() {
						start := time.Now()
						r, _ := http.NewRequestWithContext(ctx, method, b.URL.String(), nil)
						if body != nil {
							r.Body, r.ContentLength = body, -1
						}
						w := httptest.NewRecorder()
						(&Handler{Target: b.URL, Transport: tr}).ServeHTTP(w, r)
						if took := time.Since(start); w.Code != want || took > limit*5/4 {
							t.Errorf("%s: %d after %v", method, w.Code, took)
						}
					})
				}
				send(t.Context(), "POST", endless{}, 504)
				time.Sleep(time.Second)
				synctest.Wait()
				for range 100 {
					send(t.Context(), "GET", nil, 504)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				for range 10 {
					send(ctx, "GET", nil, 504)
				}
				time.Sleep(limit / 2)
				before := time.Now()
				require.EqualValues(t, 2, b.Stats().Busy, "who is behind with reading is given nothing more to read")
				tr.CloseIdleConnections()
				require.Zero(t, time.Since(before))
				wg.Wait()
				require.LessOrEqual(t, time.Since(begun), 2*limit)
				time.Sleep(limit)
				synctest.Wait()
				require.Zero(t, b.Stats().Busy)
				require.Zero(t, b.Stats().Open)
				require.NoError(t, b.Close())
			})
		})
	}
}

// TestHTTP2UnreadButAnswering: a connection whose backend reads no more is
// given up though it still answers; its other streams end, too.
func TestHTTP2UnreadButAnswering(t *testing.T) {
	const limit = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		b := scriptedBackend(t, "h2c", limit, func(c net.Conn, n int) {
			f := preface(c)
			for stream := uint32(0); stream == 0; {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if h, ok := frame.(*http2.HeadersFrame); ok {
					stream = h.StreamID
					_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte{0x88}, EndHeaders: true})
				}
			}
			for f.WriteData(1, false, make([]byte, 1<<10)) == nil { // the client's window is replenished in vain
				time.Sleep(time.Millisecond)
			}
		})
		tr := &Transport{Backend: b}
		get := func() (*http.Response, error) {
			r, _ := http.NewRequestWithContext(t.Context(), "GET", b.URL.String(), nil)
			return tr.RoundTrip(r)
		}
		resp, err := get()
		require.NoError(t, err)
		begun := time.Now()
		_, err = io.Copy(io.Discard, resp.Body)
		require.Error(t, err)
		require.Less(t, time.Since(begun), 3*limit)
		require.NoError(t, resp.Body.Close())
		tr.CloseIdleConnections()
		time.Sleep(time.Second)
		require.Zero(t, b.Stats().Open)
		require.NoError(t, b.Close())
	})
}

// TestHTTP2SlowUploads: as many uploads as there are streams, to a backend that
// reads slowly, are not too much to have in memory.
func TestHTTP2SlowUploads(t *testing.T) {
	const uploads, size = 200, 256 << 10
	synctest.Test(t, func(t *testing.T) {
		b := scriptedBackend(t, "h2c", 10*time.Second, func(c net.Conn, n int) {
			f := preface(c)
			f.SetMaxReadFrameSize(1 << 20)
			f.AllowIllegalReads = true
			sums := make(map[uint32]int)
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if d, ok := frame.(*http2.DataFrame); ok {
					time.Sleep(time.Millisecond)
					if sums[d.StreamID] += len(d.Data()); d.StreamEnded() && sums[d.StreamID] == size {
						answerFrames(f, d.StreamID)
					}
				}
			}
		})
		b.MaxConns = 1
		tr := &Transport{Backend: b}
		var wg sync.WaitGroup
		for range uploads {
			wg.Go(func() {
				r, _ := http.NewRequestWithContext(t.Context(), "POST", b.URL.String(), strings.NewReader(strings.Repeat("x", size)))
				resp, err := tr.RoundTrip(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, b.Stats().Created)
		tr.CloseIdleConnections()
		time.Sleep(time.Second)
		require.Zero(t, b.Stats().Open)
		require.NoError(t, b.Close())
	})
}

// TestHTTP2SlowInterim: who is slow to take an interim answer holds up no other
// stream, and gets the final answer after it.
func TestHTTP2SlowInterim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := scriptedBackend(t, "h2c", 10*time.Second, func(c net.Conn, n int) {
			f := preface(c)
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if h, ok := frame.(*http2.HeadersFrame); ok {
					if h.StreamID == 1 {
						_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("\x08\x03103"), EndHeaders: true})
					}
					answerFrames(f, h.StreamID)
				}
			}
		})
		tr := &Transport{Backend: b}
		get := func(trace *httptrace.ClientTrace) error {
			r, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", b.URL.String(), nil)
			resp, err := tr.RoundTrip(r)
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		}
		var wg sync.WaitGroup
		slow := make(chan int)
		wg.Go(func() {
			told := 0
			require.NoError(t, get(&httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
				told = <-slow
				return nil
			}}))
			require.Equal(t, 103, told)
		})
		time.Sleep(time.Minute)
		require.NoError(t, get(&httptrace.ClientTrace{}))
		slow <- 103
		wg.Wait()
		refuses := &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { return io.ErrClosedPipe }}
		tr.CloseIdleConnections()
		require.ErrorIs(t, get(refuses), io.ErrClosedPipe)
		tr.CloseIdleConnections()
		require.PanicsWithValue(t, "a hook", func() {
			_ = get(&httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error { panic("a hook") }})
		}, "as over HTTP/1.1, where the request was sent")
		tr.CloseIdleConnections()
		time.Sleep(time.Second)
		require.Zero(t, b.Stats().Open)
		require.NoError(t, b.Close())
	})
}

// TestHTTP2UnusedAfterCancel: a connection whose only request was cancelled is
// not in use, though the backend has not said a word since.
func TestHTTP2UnusedAfterCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := scriptedBackend(t, "h2c", time.Minute, func(c net.Conn, n int) {
			_ = http2.NewFramer(c, c).WriteSettings()
			_, _ = io.Copy(io.Discard, c)
		})
		tr := &Transport{Backend: b}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, "GET", b.URL.String(), nil)
		_, err := tr.RoundTrip(r)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		tr.CloseIdleConnections()
		time.Sleep(time.Second)
		require.Zero(t, b.Stats().Open)
		require.NoError(t, b.Close())
	})
}
