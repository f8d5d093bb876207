package ajp

import (
	"bufio"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestServerRefusesHostsThatAreNone: of what a web server says, both the name of
// the server and the field Host must be valid.
func TestServerRefusesHostsThatAreNone(t *testing.T) {
	for _, tc := range []struct {
		name   string // of the server
		port   int
		secure byte
		fields []string
		want   string // Host, and what the TLS connection was for; or "400"
	}{
		{"a.test", 80, 0, []string{"a.test:81"}, "a.test:81|"},
		{"a.test", 80, 0, nil, "a.test|"},
		{"a.test", 81, 0, nil, "a.test:81|"},
		{"::1", 80, 0, nil, "[::1]|"},
		{"[::1]", 81, 1, nil, "[::1]:81|::1"},
		{"", 81, 0, nil, "|"},
		{"a.test", 443, 1, []string{""}, "|a.test"},
		{"a.test", 80, 0, []string{"a:b:c"}, "400"},
		{"a.test", 80, 0, []string{"a.test/x"}, "400"},
		{"a.test", 80, 0, []string{"a.test", "a.test"}, "400"},
		{"a.test", 80, 0, []string{"a.test", "b.test"}, "400"},
		{"a b", 80, 0, []string{"a.test"}, "400"},
		{"a.test:80", 80, 0, []string{"a.test"}, "400"},
		{"fe80::1%eth0", 80, 0, nil, "400"},
		{"a/b", 80, 1, nil, "400"},
		{"x:bad", 80, 0, nil, "400"},
		{`a"b`, 80, 0, nil, "400"},
	} {
		address := startServer(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			said := r.Host + "|"
			if r.TLS != nil {
				said += r.TLS.ServerName
			}
			w.Header().Set("X-Said", said)
		})})
		u, err := url.Parse(address)
		require.NoError(t, err)
		b := append(appendHead(nil), typeForwardRequest, 2)
		for _, s := range []string{"HTTP/1.1", "/", "1.2.3.4", "", tc.name} {
			b = appendString(b, s)
		}
		b = append(appendInt(b, tc.port), tc.secure)
		b = appendInt(b, len(tc.fields))
		for _, f := range tc.fields {
			b = appendString(appendInt(b, codeHost), f)
		}
		b = append(b, attrEnd)
		putHead(b, toContainer, len(b)-headSize)
		require.Equal(t, tc.want, askPacket(t, u.Host, b), "%+v", tc)
	}
}

// askPacket sends a packet and returns X-Said of the answer, or "400".
func askPacket(t *testing.T, addr string, packet []byte) string {
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write(packet)
	require.NoError(t, err)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	kind, length, err := peekPacket(r, DefaultPacketSize)
	require.NoError(t, err)
	require.EqualValues(t, typeSendHeaders, kind)
	text, err := payload(r, length)
	require.NoError(t, err)
	var h answerHead
	require.NoError(t, parseSendHeaders(text, &h))
	if h.status == http.StatusBadRequest {
		return "400"
	}
	return h.header.Get("X-Said")
}

// TestHostsThatContainersAreTold: server_name and server_port are those of Host.
func TestHostsThatContainersAreTold(t *testing.T) {
	for host, want := range map[string]struct {
		name         string
		port, secure int
	}{
		"a.test": {"a.test", 80, 443}, "a.test:": {"a.test", 80, 443}, "A.test:0081": {"A.test", 81, 81}, "[::1]:8009": {"[::1]", 8009, 8009}, "[::1]": {"[::1]", 80, 443}, "": {"", 80, 443},
	} {
		name, port, err := serverOf(host, false)
		require.Nil(t, err, host)
		_, secure, _ := serverOf(host, true)
		require.Equal(t, want, struct {
			name         string
			port, secure int
		}{name, port, secure}, host)
	}
	_, _, err := serverOf("a:b:c", false)
	require.ErrorIs(t, err, exchange.ErrHost)
	require.Equal(t, http.StatusBadRequest, exchange.StatusOf(err))
}
