package apache

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReverseOfNothing: what httpd takes for ProxyPassReverse and no answer can name is
// told, and requests go on.
func TestReverseOfNothing(t *testing.T) {
	for _, url := range []string{"!", "host", "//host/", "http:///x", "http://backend.test/?q", "$1"} {
		p := start(t, "ServerName front.test\nProxyPassReverse /static/ "+url+"\nProxyPass / http://backend.test/\n<Location /in/>\nProxyPassReverse "+url+"\n</Location>\n", echo)
		for _, path := range []string{"/x", "/in/x"} {
			require.Equal(t, "< 200", ask(t, p.server.addresses()["80"], "GET "+path+" HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\n\r\n")[0], url)
		}
		require.Len(t, p.server.Warnings(), 2, url)
	}
}
