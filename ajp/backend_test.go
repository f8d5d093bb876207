package ajp

import (
	"context"
	"net/http/httptrace"
	"net/textproto"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
)

// patience is longer than anything takes on a busy machine.
const patience = 30 * time.Second

// newBackend returns the backend of a URL, which ends with the test.
func newBackend(t *testing.T, url string) *backend.Backend {
	t.Helper()
	b, err := backend.Parse(url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// traceInterim notes the codes of interim answers.
func traceInterim(codes *[]int) context.Context {
	return httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		*codes = append(*codes, code)
		return nil
	}})
}
