package graceful_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/graceful"
)

// TestServers: a request that is under way over HTTP/1.1 or HTTP/2 is answered
// in whole, and a tunnel of a Handler that has no registry is waited for, and cut
// when the time is up.
func TestServers(t *testing.T) {
	letGo, reached := make(chan struct{}), make(chan struct{}, 3)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached <- struct{}{}
		if r.Header.Get("Upgrade") == "" {
			<-letGo
			_, _ = io.WriteString(w, "whole")
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(c, rw)
	}))
	app, err := proxy.NewHandler("/", origin.URL)
	require.NoError(t, err)
	parts := []any{app}
	answers := make(chan error, 2)
	for _, h2 := range []bool{false, true} {
		front := httptest.NewUnstartedServer(app)
		front.EnableHTTP2 = h2
		front.StartTLS()
		defer front.Close()
		parts = append(parts, front.Config)
		go func() {
			resp, err := front.Client().Get(front.URL)
			if err != nil {
				answers <- err
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if string(body) != "whole" || resp.ProtoMajor == 2 != h2 {
				err = errors.Join(err, errors.New(resp.Proto+" "+string(body)))
			}
			answers <- err
		}()
	}
	plain := httptest.NewServer(app)
	defer plain.Close()
	parts = append(parts, plain.Config)
	tunnel, err := net.Dial("tcp", plain.Listener.Addr().String())
	require.NoError(t, err)
	defer tunnel.Close()
	_, _ = io.WriteString(tunnel, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(tunnel)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	for range 3 {
		<-reached
	}

	service := &graceful.Service{Parts: append(parts, origin)}
	ctx, cut := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- service.Shutdown(ctx) }()
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", plain.Listener.Addr().String())
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	}, 10*time.Second, time.Millisecond)
	close(letGo)
	require.NoError(t, <-answers)
	require.NoError(t, <-answers)
	_, _ = io.WriteString(tunnel, "still here\n")
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "still here\n", line)
	require.Empty(t, stopped)
	cut()
	require.ErrorIs(t, <-stopped, context.Canceled)
	_, err = r.ReadString('\n')
	require.Error(t, err)
}

// tunnels is a handler of CONNECT.
type tunnels struct{ http.Handler }

func (tunnels) Shutdown(context.Context) error { return errTunnels }

var errTunnels = errors.New("tunnels were cut")

// TestForward: a forward proxy has those who make its tunnels end them, whatever
// they are.
func TestForward(t *testing.T) {
	for _, tc := range []struct {
		connect http.Handler
		is      error
	}{{nil, nil}, {http.NotFoundHandler(), nil}, {tunnels{}, errTunnels}} {
		f := &proxy.Forward{Connect: tc.connect}
		require.ErrorIs(t, (&graceful.Service{Parts: []any{f}}).Shutdown(t.Context()), tc.is)
	}
}
