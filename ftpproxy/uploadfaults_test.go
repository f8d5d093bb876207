package ftpproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestUploadBrokenOff: the server must not take a part for the whole.
func TestUploadBrokenOff(t *testing.T) {
	s := startScripted(t)
	rt := s.transport(patience)
	rt.AllowPut = true
	broken := errors.New("broken off")
	_, _, err := ask(t.Context(), rt, "PUT", "/g", io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)), &failing{broken}))
	require.ErrorIs(t, err, broken)
	var e *exchange.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, exchange.OpClient, e.Op)
	require.Contains(t, s.heard(), "DELE g")
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// TestClientLeavesUpload: what was stored is taken away by a control connection
// that outlives the client.
func TestClientLeavesUpload(t *testing.T) {
	s := startScripted(t)
	rt := s.transport(patience)
	rt.AllowPut = true
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	pr, pw := io.Pipe()
	go func() {
		_, _ = pw.Write(make([]byte, 100_000))
		leave()
	}()
	_, _, err := ask(ctx, rt, "PUT", "/g", pr)
	require.ErrorIs(t, err, exchange.ErrClientGone)
	require.Contains(t, s.heard(), "DELE g")
	require.EqualValues(t, 0, rt.Backend.Stats().Open)
}

// TestOnlyNewWhereNothingIsKnown: a server that cannot tell whether the file is
// there must not have it overwritten by who has ruled that out.
func TestOnlyNewWhereNothingIsKnown(t *testing.T) {
	s := startScripted(t)
	s.features = " UTF8\r\n"
	s.on["SIZE"] = func(c *scriptedConn, _ string) { c.say("502 no") }
	rt := s.transport(patience)
	rt.AllowPut = true
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "ftp://"+s.listener.Addr().String()+"/f", strings.NewReader("new"))
	require.NoError(t, err)
	r.Header.Set("If-None-Match", "*")
	resp, err := rt.RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, http.StatusPreconditionFailed, resp.StatusCode)
	require.NotContains(t, s.heard(), "STOR f")
}
