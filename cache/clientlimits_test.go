package cache

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/disk"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy"
)

// TestClientsThatDoNotRead: what a cache sends, from a store or while it comes
// in, waits no longer for its client than the limits allow.
func TestClientsThatDoNotRead(t *testing.T) {
	const long = 64 << 20 // more than the buffers on the way hold
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.Header().Set("Content-Length", fmt.Sprint(long))
		line := make([]byte, 64<<10)
		for range long / len(line) {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	})
	stores := map[string]func(t *testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return &memory.Store{MaxBytes: 4 * long} },
		"disk":   func(t *testing.T) store.Store { return &disk.Store{Root: t.TempDir()} },
		"small":  func(*testing.T) store.Store { return &memory.Store{MaxBytes: 1 << 20} }, // passes it on unstored
	}
	for name, store := range stores {
		for _, stored := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " stored ", stored), func(t *testing.T) {
				st := store(t)
				if c, ok := st.(io.Closer); ok {
					defer c.Close()
				}
				c := &Cache{Store: st, Client: &proxy.ClientLimits{Timeout: 100 * time.Millisecond}, Key: func(*http.Request) string { return "a" }}
				defer c.Close()
				done := make(chan struct{}, 2)
				h := c.Wrap(origin)
				front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer func() { done <- struct{}{} }()
					h.ServeHTTP(w, r)
				}))
				defer front.Close()
				if stored {
					front := httptest.NewServer((&Cache{Store: st, Key: func(*http.Request) string { return "a" }}).Wrap(origin)) // without a limit
					defer front.Close()
					resp, err := front.Client().Get(front.URL)
					require.NoError(t, err)
					n, err := io.Copy(io.Discard, resp.Body)
					require.NoError(t, err)
					require.EqualValues(t, long, n)
				}
				client, err := net.Dial("tcp", front.Listener.Addr().String())
				require.NoError(t, err)
				defer client.Close()
				_, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: "+front.Listener.Addr().String()+"\r\n\r\n")
				select {
				case <-done:
				case <-time.After(20 * time.Second):
					t.Fatal("the client is waited for")
				}
				_ = client.SetReadDeadline(time.Now().Add(20 * time.Second))
				n, err := io.Copy(io.Discard, client)
				var ne net.Error
				require.False(t, errors.As(err, &ne) && ne.Timeout(), "the connection is open")
				require.Less(t, n, int64(long))
			})
		}
	}
}

// TestLeaderThatDoesNotRead: who caused a fetch and does not read its answer is
// cut, and whoever shares it gets all of it.
func TestLeaderThatDoesNotRead(t *testing.T) {
	const size = 64 << 20
	half := make(chan struct{})
	origin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.Header().Set("Content-Length", fmt.Sprint(size))
		line := make([]byte, 64<<10)
		for i := range size / len(line) {
			if i == size/len(line)/2 {
				<-half
			}
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	})
	c := &Cache{Store: &memory.Store{MaxBytes: 4 * size}, Client: &proxy.ClientLimits{Timeout: 100 * time.Millisecond}}
	defer c.Close()
	front := httptest.NewServer(c.Wrap(origin))
	defer front.Close()
	leader, err := net.Dial("tcp", front.Listener.Addr().String())
	require.NoError(t, err)
	defer leader.Close()
	_, _ = io.WriteString(leader, "GET / HTTP/1.1\r\nHost: "+front.Listener.Addr().String()+"\r\n\r\n")
	require.Eventually(t, func() bool { return c.Stats().Fetches == 1 }, 20*time.Second, time.Millisecond)
	resp, err := front.Client().Get(front.URL)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.CopyN(io.Discard, resp.Body, size/2)
	require.NoError(t, err)
	time.AfterFunc(500*time.Millisecond, func() { close(half) }) // the leader has been cut by then
	n, err := io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.EqualValues(t, size/2, n)
	require.EqualValues(t, 1, c.Stats().Fetches)
}
