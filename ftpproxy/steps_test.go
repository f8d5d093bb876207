package ftpproxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// steps are the commands of a request, by what is asked for.
var steps = map[string][]string{
	"GET /f":    {"greeting", "USER", "PASS", "FEAT", "TYPE", "OPTS", "SIZE", "MDTM", "EPSV", "RETR"},
	"HEAD /f":   {"SIZE", "MDTM"},
	"GET /d":    {"PWD", "CWD"},
	"GET /d/":   {"PWD", "CWD", "EPSV", "LIST"},
	"PUT /g":    {"SIZE", "EPSV", "STOR"},
	"DELETE /f": {"SIZE", "MDTM", "DELE"},
}

// eachStep runs a test for each step of each kind of request.
func eachStep(t *testing.T, f func(t *testing.T, s *scripted, method, path, step string)) {
	for request, list := range steps {
		method, path, _ := strings.Cut(request, " ")
		for _, step := range list {
			t.Run(request+" "+step, func(t *testing.T) { f(t, startScripted(t), method, path, step) })
		}
	}
}

func bodyFor(method string) io.Reader {
	if method == "PUT" {
		return strings.NewReader("body")
	}
	return nil
}

func TestServerHangsAtEachStep(t *testing.T) {
	eachStep(t, func(t *testing.T, s *scripted, method, path, step string) {
		t.Parallel()
		s.on[step] = func(c *scriptedConn, _ string) { c.hang() }
		rt := s.transport(200 * time.Millisecond)
		rt.AllowPut, rt.AllowDelete = true, true
		_, _, err := ask(t.Context(), rt, method, path, bodyFor(method))
		require.Error(t, err)
		require.Equal(t, http.StatusGatewayTimeout, exchange.StatusOf(err), "%v", err)
		require.EqualValues(t, 0, rt.Backend.Stats().Open)
	})
}

func TestClientLeavesAtEachStep(t *testing.T) {
	eachStep(t, func(t *testing.T, s *scripted, method, path, step string) {
		t.Parallel()
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		s.on[step] = func(c *scriptedConn, _ string) {
			leave()
			c.hang()
		}
		rt := s.transport(patience)
		rt.AllowPut, rt.AllowDelete = true, true
		begun := time.Now()
		_, _, err := ask(ctx, rt, method, path, bodyFor(method))
		require.ErrorIs(t, err, exchange.ErrClientGone)
		require.Equal(t, exchange.StatusClientClosedRequest, exchange.StatusOf(err))
		require.Less(t, time.Since(begun), patience)
		require.EqualValues(t, 0, rt.Backend.Stats().Open)
	})
}

func TestServerLeavesAtEachStep(t *testing.T) {
	eachStep(t, func(t *testing.T, s *scripted, method, path, step string) {
		t.Parallel()
		s.on[step] = func(c *scriptedConn, _ string) { _ = c.Close() }
		rt := s.transport(patience)
		rt.AllowPut, rt.AllowDelete = true, true
		_, _, err := ask(t.Context(), rt, method, path, bodyFor(method))
		require.Equal(t, http.StatusBadGateway, exchange.StatusOf(err), "%v", err)
		var e *exchange.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "ftp://"+s.listener.Addr().String(), e.Backend)
		require.EqualValues(t, 0, rt.Backend.Stats().Open)
	})
}

// TestClientLeavesInTheMiddle: nothing is left behind.
func TestClientLeavesInTheMiddle(t *testing.T) {
	for _, path := range []string{"/f", "/d/"} {
		s := startScripted(t)
		hang := func(c *scriptedConn, _ string) {
			c.say("150 coming")
			d := c.accept()
			defer d.Close()
			_, _ = io.WriteString(d, strings.Repeat("-rw-r--r-- 1 u g 1 Jan  1  2024 name\r\n", 20000))
			_, _ = io.Copy(io.Discard, d) // until it is closed
			c.hang()
		}
		s.file = strings.Repeat("z", 10<<20)
		s.on["RETR"], s.on["LIST"] = hang, hang
		rt := s.transport(patience)

		ctx, leave := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "GET", "ftp://server.test"+path, nil)
		require.NoError(t, err)
		resp, err := rt.RoundTrip(r)
		require.NoError(t, err)
		_, err = io.CopyN(io.Discard, resp.Body, 10_000)
		require.NoError(t, err)
		time.AfterFunc(time.Millisecond, leave)
		_, err = io.Copy(io.Discard, resp.Body)
		require.ErrorIs(t, err, exchange.ErrClientGone)
		require.NoError(t, resp.Body.Close())
		require.EqualValues(t, 0, rt.Backend.Stats().Open)

		// Closing the body from elsewhere ends a read, too.
		resp, err = rt.RoundTrip(r.WithContext(t.Context()))
		require.NoError(t, err)
		go func() { _ = resp.Body.Close() }()
		_, err = io.Copy(io.Discard, resp.Body)
		require.Error(t, err)
		require.Eventually(t, func() bool { return rt.Backend.Stats().Open == 0 }, patience, time.Millisecond)
	}
}
