package ftpproxy

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"testing"

	ftpserver "github.com/fclairamb/ftpserverlib"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// TestHooks: the hooks of an httptrace.ClientTrace around a Handler are told of
// what FTP has for their events, once each.
func TestHooks(t *testing.T) {
	id := newIdentity(t)
	for scheme, requirement := range map[string]ftpserver.TLSRequirement{
		"ftp": ftpserver.ClearOrEncrypted, "ftps": ftpserver.ImplicitEncryption, "ftpes": ftpserver.MandatoryEncryption,
	} {
		t.Run(scheme, func(t *testing.T) {
			d := &inProcess{root: plant(t), login: true, tls: &tls.Config{Certificates: []tls.Certificate{id.cert}}}
			d.settings.TLSRequired = requirement
			addr := startInProcess(t, d)
			u := &url.URL{Scheme: scheme, Host: "localhost:" + addr[strings.LastIndexByte(addr, ':')+1:]}
			b := &backend.Backend{URL: u, TLS: &tls.Config{RootCAs: id.pool}}
			defer b.Close()
			tr := &Transport{Backend: b, User: url.UserPassword(testUser, testPassword), AllowPut: true}

			var mu sync.Mutex
			told := map[string]int{}
			add := func(event string, err error) {
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					event += " failed"
				}
				told[event]++
			}
			trace := func() *httptrace.ClientTrace {
				return &httptrace.ClientTrace{
					GetConn: func(string) { add("GetConn", nil) },
					GotConn: func(i httptrace.GotConnInfo) {
						add(map[bool]string{true: "reused", false: "opened"}[i.Reused && i.WasIdle], nil)
					},
					PutIdleConn:          func(err error) { add("PutIdleConn", err) },
					GotFirstResponseByte: func() { add("FirstByte", nil) },
					TLSHandshakeStart:    func() { add("TLSStart", nil) },
					TLSHandshakeDone:     func(_ tls.ConnectionState, err error) { add("TLSDone", err) },
					WroteHeaders:         func() { add("WroteHeaders", nil) },
					WroteRequest:         func(i httptrace.WroteRequestInfo) { add("WroteRequest", i.Err) },
				}
			}
			h := &proxy.Handler{Target: u, Transport: tr}
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(w, r.WithContext(httptrace.WithClientTrace(r.Context(), trace())))
			}))
			defer front.Close()
			do := func(method, path, body string, status int, want map[string]int) {
				t.Helper()
				r, err := http.NewRequest(method, front.URL+path, strings.NewReader(body))
				require.NoError(t, err)
				resp, err := front.Client().Do(r)
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, resp.Body)
				require.NoError(t, err)
				_ = resp.Body.Close()
				require.Equal(t, status, resp.StatusCode)
				mu.Lock()
				defer mu.Unlock()
				require.Equal(t, want, told)
				clear(told)
			}
			first := map[string]int{"GetConn": 1, "opened": 1, "WroteHeaders": 1, "WroteRequest": 1, "FirstByte": 1, "PutIdleConn": 1}
			if scheme != "ftp" {
				first["TLSStart"], first["TLSDone"] = 1, 1
			}
			again := map[string]int{"GetConn": 1, "reused": 1, "WroteHeaders": 1, "WroteRequest": 1, "FirstByte": 1, "PutIdleConn": 1}
			do("GET", "/hello.txt", "", 200, first)
			do("GET", "/hello.txt", "", 200, again)
			do("PUT", "/upload/new.txt", "text", 201, again)
			do("GET", "/", "", 200, again)

			b.Retire() // no connection is kept any more
			tr.User = url.UserPassword(testUser, "wrong")
			delete(first, "PutIdleConn")
			do("GET", "/hello.txt", "", 403, first) // an answer, too
		})
	}
}
