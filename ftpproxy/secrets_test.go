package ftpproxy

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestNoSecretsInErrors: a server that repeats passwords does not get them into
// errors, logs or answers.
func TestNoSecretsInErrors(t *testing.T) {
	const secret = "hunter2"
	for _, step := range []string{"greeting", "USER", "PASS", "FEAT", "TYPE", "OPTS", "SIZE", "MDTM", "EPSV", "RETR"} {
		for _, reply := range []string{"500 " + secret, "421 " + secret, "530 " + secret, secret, "229 (|||" + secret + "|)"} {
			s := startScripted(t)
			s.on[step] = func(c *scriptedConn, _ string) { c.say(reply) }
			var log bytes.Buffer
			h := &proxy.Handler{Target: mustURL(t, "ftp://server.test/"), Transport: s.transport(patience), Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: exchange.LevelTrace4}))}
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", "/f", nil)
			r.SetBasicAuth("ann", secret)
			r.Header.Del("Cookie")
			h.ServeHTTP(w, r)
			require.NotContains(t, w.Body.String(), secret)
			require.NotContains(t, log.String(), secret, "%s %s", step, reply)
			require.NotContains(t, log.String(), r.Header.Get("Authorization")[6:])
		}
	}
	_, err := NewHandler("/", "ftp://ann:"+secret+"@%zz/")
	require.Error(t, err)
	require.NotContains(t, err.Error(), secret)
	_, err = NewHandler("/", "http://ann:"+secret+"@host/")
	require.Error(t, err)
	require.NotContains(t, err.Error(), secret)
}

// TestNothingIsSent: a request that is refused for its form costs no
// connection.
func TestNothingIsSent(t *testing.T) {
	s := startScripted(t)
	rt := s.transport(patience)
	for _, u := range []string{
		"ftp://server.test/a%0d%0aDELE%20f", "ftp://us%0aer:p@server.test/f", "ftp://user:p%0d%0aDELE%20f@server.test/f", "ftp://user:p%00@server.test/f",
		"ftp://server.test/..", "ftp://server.test/../f", "ftp://server.test/%2e%2e/f", "ftp://server.test/./f", "ftp://server.test/a%2f..%2ff",
	} {
		r, err := http.NewRequest("GET", u, nil)
		require.NoError(t, err)
		_, err = rt.RoundTrip(r)
		require.Equal(t, 400, exchange.StatusOf(err), "%s: %v", u, err)
	}
	r, err := http.NewRequest("GET", "http://server.test/f", nil)
	require.NoError(t, err)
	_, err = rt.RoundTrip(r)
	require.Equal(t, 500, exchange.StatusOf(err))
	require.Empty(t, s.heard())
	require.EqualValues(t, 0, rt.Backend.Stats().Created)
}
