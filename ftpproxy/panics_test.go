package ftpproxy

import (
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// TestPanicsLeaveNothingBehind: when a hook panics, the one connection that the
// server may have is free for the next request.
func TestPanicsLeaveNothingBehind(t *testing.T) {
	boom := func() { panic(http.ErrAbortHandler) }
	for name, trace := range map[string]*httptrace.ClientTrace{
		"GotConn":      {GotConn: func(httptrace.GotConnInfo) { boom() }},
		"PutIdleConn":  {PutIdleConn: func(error) { boom() }},
		"FirstByte":    {GotFirstResponseByte: boom},
		"WroteHeaders": {WroteHeaders: boom},
		"WroteRequest": {WroteRequest: func(httptrace.WroteRequestInfo) { boom() }},
	} {
		t.Run(name, func(t *testing.T) {
			addr := startInProcess(t, &inProcess{root: plant(t), login: true})
			u := &url.URL{Scheme: "ftp", Host: addr}
			b := &backend.Backend{URL: u, MaxConns: 1, AcquireTimeout: 5 * time.Second}
			defer b.Close()
			h := &proxy.Handler{Target: u, Transport: &Transport{Backend: b, User: url.UserPassword(testUser, testPassword)}}
			do := func(trace *httptrace.ClientTrace) int {
				defer func() { _ = recover() }()
				r := httptest.NewRequest("GET", "/", nil)
				r = r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				return w.Code
			}
			do(trace)
			do(trace)
			require.Equal(t, 200, do(&httptrace.ClientTrace{}))
		})
	}
}
