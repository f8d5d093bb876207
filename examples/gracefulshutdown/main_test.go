package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// backend counts what reaches it. /slow takes until it is let go, /ws switches
// to an echo.
type backend struct {
	*httptest.Server
	reached, slow atomic.Int64
	letGo         chan struct{}
}

func newBackend(t *testing.T) *backend {
	b := &backend{letGo: make(chan struct{})}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.reached.Add(1)
		switch r.URL.Path {
		case "/slow":
			b.slow.Add(1)
			<-b.letGo
		case "/ws":
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(c, rw)
			return
		}
		_, _ = io.WriteString(w, "whole")
	}))
	t.Cleanup(b.Close)
	return b
}

// run serves in front of b until stop is called.
func run(t *testing.T, b *backend, notice, grace time.Duration) (url string, stop func(), done chan error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	done = make(chan error, 1)
	go func() { done <- serve(ctx, l, b.URL+"/", notice, grace) }()
	return "http://" + l.Addr().String(), cancel, done
}

// ask returns nil for a whole answer.
func ask(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(body) != "whole" {
		return errors.Join(err, errors.New(resp.Status+" "+string(body)))
	}
	return nil
}

// TestNothingIsLost: clients that heed /ready, as a load balancer does, have each
// request answered in whole, and so have those whose requests are slow; tunnels
// go on until they end.
func TestNothingIsLost(t *testing.T) {
	b := newBackend(t)
	url, stop, done := run(t, b, 2*time.Second, time.Minute)
	const slow, busy = 8, 4
	var answered, left, failed atomic.Int64
	var wg sync.WaitGroup
	client := func() *http.Client { return &http.Client{Transport: &http.Transport{}} }
	for range slow {
		wg.Go(func() {
			c := client()
			defer c.CloseIdleConnections()
			if ask(c, url+"/slow") == nil {
				answered.Add(1)
			} else {
				failed.Add(1)
			}
		})
	}
	for range busy {
		wg.Go(func() {
			c := client()
			defer c.CloseIdleConnections()
			for status(c, url+"/ready") == 200 {
				if err := ask(c, url+"/"); err != nil {
					t.Error(err)
					failed.Add(1)
					return
				}
				answered.Add(1)
			}
			left.Add(1)
		})
	}
	tunnel, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer tunnel.Close()
	_, _ = io.WriteString(tunnel, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(tunnel)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, 101, resp.StatusCode)
	require.Eventually(t, func() bool { return b.slow.Load() == slow && answered.Load() > 200 }, 30*time.Second, time.Millisecond)

	stop()
	require.Eventually(t, func() bool { return left.Load() == busy && refuses(url) }, 30*time.Second, time.Millisecond)
	select {
	case err := <-done:
		t.Fatal("it did not wait", err)
	default:
	}
	_, _ = io.WriteString(tunnel, "still here\n")
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "still here\n", line)
	close(b.letGo)
	wg.Wait()
	select {
	case err := <-done:
		t.Fatal("it did not wait for the tunnel", err)
	default:
	}
	require.NoError(t, tunnel.Close())
	require.NoError(t, <-done)
	t.Logf("%d reached the backend, %d answered", b.reached.Load(), answered.Load())
	require.Zero(t, failed.Load())
	require.Equal(t, b.reached.Load(), answered.Load()+1, "the tunnel is the other one")
}

// status asks, and returns 0 without an answer.
func status(client *http.Client, url string) int {
	resp, err := client.Get(url)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// refuses reports whether nobody listens any more.
func refuses(url string) bool {
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err == nil {
		_ = c.Close()
	}
	return err != nil
}

// TestReadySaysNoFirst, while requests are still taken.
func TestReadySaysNoFirst(t *testing.T) {
	b := newBackend(t)
	url, stop, done := run(t, b, time.Second, time.Minute)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ready := func() int { return status(client, url+"/ready") }
	require.Equal(t, 200, ready())
	stop()
	require.Eventually(t, func() bool { return ready() == 503 }, 10*time.Second, time.Millisecond)
	require.NoError(t, ask(client, url+"/"))
	require.NoError(t, <-done)
	require.Zero(t, ready())
}

// TestWhatIsLeftIsCut when the time is up, and told.
func TestWhatIsLeftIsCut(t *testing.T) {
	b := newBackend(t)
	url, stop, done := run(t, b, 0, 50*time.Millisecond)
	client := &http.Client{Transport: &http.Transport{}}
	result := make(chan error, 1)
	go func() { result <- ask(client, url+"/slow") }()
	require.Eventually(t, func() bool { return b.slow.Load() == 1 }, 10*time.Second, time.Millisecond)
	stop()
	require.ErrorIs(t, <-done, context.DeadlineExceeded)
	require.Error(t, <-result)
	close(b.letGo)
}
