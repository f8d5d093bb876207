package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// loggedLines collects what is logged, as JSON.
type loggedLines struct{ out programs.Output }

func (l *loggedLines) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(&l.out, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// done waits for the line about a finished request.
func (l *loggedLines) done(t *testing.T) (line struct {
	Level  string
	Result struct {
		Status int
		Error  string
	}
}) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(l.out.String(), "request done") }, 10*time.Second, time.Millisecond)
	for one := range bytes.Lines([]byte(l.out.String())) {
		if bytes.Contains(one, []byte("request done")) {
			require.NoError(t, json.Unmarshal(one, &line))
		}
	}
	return line
}

// TestClientThatLeavesIsNoFailure: when the client leaves while the backend
// thinks, nobody is blamed: no ErrorHandler, no error of the backend, no line
// at level Error. Over every protocol.
func TestClientThatLeavesIsNoFailure(t *testing.T) {
	for front, start := range clientFronts {
		t.Run(front, func(t *testing.T) {
			arrived := make(chan struct{})
			o := newOrigin(t, func(c *originConn, _ int) {
				c.request()
				close(arrived)
				c.untilClosed()
			})
			h, b, rec := handlerFor(t, o.url())
			b.Timeout = 20 * time.Second
			var log loggedLines
			var handled atomic.Int32
			h.Logger = log.logger()
			h.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { handled.Add(1) }
			at, cl := start(t, h)
			ctx, leave := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, "GET", at, nil)
			require.NoError(t, err)
			go func() { <-arrived; leave() }()
			_, err = cl.Do(req)
			require.ErrorIs(t, err, context.Canceled)

			line := log.done(t)
			require.Equal(t, "DEBUG", line.Level)
			require.Equal(t, exchange.StatusClientClosedRequest, line.Result.Status)
			var e *exchange.Error
			require.ErrorAs(t, rec.last(t).Err, &e)
			require.Equal(t, exchange.OpClient, e.Op)
			require.ErrorIs(t, e, exchange.ErrClientGone)
			require.False(t, exchange.MayResend(e))
			require.Zero(t, handled.Load())
			require.Zero(t, b.Stats().Errors)
			require.Equal(t, backend.StateUsable, b.State())
			require.Zero(t, b.Stats().Open)
		})
	}
}

// TestCutBodyIsLogged: the client's connection breaks off, and the log has the
// typed error.
func TestCutBodyIsLogged(t *testing.T) {
	for front, start := range clientFronts {
		t.Run(front, func(t *testing.T) {
			read := make(chan struct{})
			o := newOrigin(t, func(c *originConn, _ int) {
				c.request()
				c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
				<-read
			})
			h, b, rec := handlerFor(t, o.url())
			b.Timeout = 20 * time.Second
			var log loggedLines
			h.Logger = log.logger()
			at, cl := start(t, h)
			resp, err := cl.Get(at)
			require.NoError(t, err)
			defer resp.Body.Close()
			_, err = io.ReadFull(resp.Body, make([]byte, 3))
			require.NoError(t, err)
			close(read)
			_, err = io.ReadAll(resp.Body)
			require.Error(t, err, "no last chunk, no end of the stream")

			line := log.done(t)
			require.Equal(t, "ERROR", line.Level)
			require.Contains(t, line.Result.Error, "proxy: body "+o.url().String()+": ")
			var e *exchange.Error
			require.ErrorAs(t, rec.last(t).Err, &e)
			require.Equal(t, exchange.OpBody, e.Op)
			require.False(t, exchange.MayResend(e))
			require.Equal(t, 200, rec.last(t).Status)
		})
	}
}
