package apache

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// startConf runs files of conf, as they stand, one behind the other;
// backend.local is the backend.
func startConf(t *testing.T, names ...string) *program {
	var text strings.Builder
	for _, name := range names {
		b, err := os.ReadFile("../conf/" + name)
		require.NoError(t, err)
		text.Write(b)
	}
	back := httptest.NewServer(echo)
	t.Cleanup(back.Close)
	return start(t, text.String(), echo, "-resolve", "backend.local:80="+back.Listener.Addr().String())
}

// getFrom asks from an address of the loopback network.
func (p *program) getFrom(local, url string) int {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", p.server.addresses()["80"])
	}}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("http://" + url)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestForwardProxyingIsOff runs conf/norequests.conf: nobody's requests for
// other hosts are forwarded, and reverse proxying goes on as before.
func TestForwardProxyingIsOff(t *testing.T) {
	p := startConf(t, "norequests.conf")
	for _, request := range []string{
		"GET http://backend.local/app/x HTTP/1.1\r\nHost: backend.local\r\nConnection: close\r\n\r\n",
		"GET http://backend.local/ HTTP/1.1\r\nHost: proxy.example.com\r\nConnection: close\r\n\r\n",
	} {
		require.Contains(t, ask(t, p.server.addresses()["80"], request), "< 404")
	}
	require.Contains(t, ask(t, p.server.addresses()["80"], "CONNECT backend.local:80 HTTP/1.1\r\nHost: backend.local:80\r\n\r\n"), "< 405")
	p.stop()
	p = startConf(t, "norequests.conf", "reverse.conf")
	_, text := p.get("80", "proxy.example.com/app/x")
	require.Equal(t, "proxy.example.com /app/x", text)
	got := ask(t, p.server.addresses()["80"], "GET http://elsewhere.test/x HTTP/1.1\r\nHost: elsewhere.test\r\nConnection: close\r\n\r\n")
	require.Contains(t, got, "< 404")
}

// TestAccessByAddress runs conf/access.conf.
func TestAccessByAddress(t *testing.T) {
	p := startConf(t, "access.conf")
	for _, tc := range []struct {
		from, path string
		status     int
	}{
		{"127.0.0.1", "/public", 200},
		{"127.0.0.1", "/admin/x", 403},
		{"127.0.0.1", "//admin/x", 403},
		{"127.0.0.1", "/%61dmin/x", 403},
		{"127.0.0.1", "/status", 200},
		{"127.0.0.66", "/status", 403},
		{"127.0.0.66", "/public", 200},
		{"127.0.0.1", "/internal/x", 200},
		{"127.0.0.66", "/internal/x", 403},
		{"127.0.0.66", "/x/../internals", 403},
		{"127.0.0.66", "/%69nternal", 403},
	} {
		require.Equal(t, tc.status, p.getFrom(tc.from, "intranet.example.com"+tc.path), "%s from %s", tc.path, tc.from)
	}
}

// TestTraceOfRules runs conf/trace.conf: the log says which rules were tried,
// which one fits, where the request goes and over which connection.
func TestTraceOfRules(t *testing.T) {
	p := startConf(t, "trace.conf")
	for range 2 {
		_, text := p.get("80", "proxy.example.com/app/x?y=1")
		require.Equal(t, "backend.local /app/x?y=1", text)
	}
	resp, _ := p.get("80", "proxy.example.com/static/x")
	require.Equal(t, 404, resp.StatusCode)
	p.stop()
	log := p.stderr.String()
	for _, line := range []string{
		`level=TRACE2 msg="proxy: rule tried" path=/app/x rule=/static/ target=! fits=false`,
		`level=TRACE2 msg="proxy: rule tried" path=/app/x rule=/app/ target=http://backend.local/app/ fits=true`,
		`level=TRACE1 msg="proxy: rule fits" path=/app/x rule=/app/ target=http://backend.local/app/`,
		`level=TRACE1 msg="proxy: rule fits" path=/static/x rule=/static/ target=!`,
		`level=TRACE1 msg="proxy: request mapped" path=/app/x to="http://backend.local/app/x?y=1"`,
		`level=DEBUG msg="backend: connection opened" backend=http://backend.local`,
		`level=TRACE2 msg="backend: connection reused" backend=http://backend.local`,
		`level=TRACE1 msg="proxy: request done" method=GET host=proxy.example.com path=/app/x result.status=200`,
	} {
		require.Contains(t, log, line)
	}
	require.NotContains(t, log, "TRACE3")
}
