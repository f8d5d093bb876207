package proxy

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestRefusalsDoNotFillTheLog: clients can cause as many as they like, such as
// the 503 for passwords when too many are being tried.
func TestRefusalsDoNotFillTheLog(t *testing.T) {
	for status, level := range map[int]string{http.StatusServiceUnavailable: "INFO", http.StatusForbidden: "INFO", exchange.StatusClientClosedRequest: "DEBUG"} {
		var log bytes.Buffer
		f := &Forward{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		func() {
			defer func() { _ = recover() }() // of a client that has left
			f.refuse(httptest.NewRecorder(), httptest.NewRequest("GET", "http://a.test/", nil), &exchange.Error{Op: exchange.OpRequest, Status: status, Err: errors.New("no")})
		}()
		require.Contains(t, log.String(), "level="+level+" ", status)
	}
}
