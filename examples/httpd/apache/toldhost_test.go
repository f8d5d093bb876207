package apache

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHostOfBackends: a backend is told its name as httpd tells it, in lower case and
// without the port that its scheme has by default, however the configuration writes
// it, and whatever leads there.
func TestHostOfBackends(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
	defer back.Close()
	p := start(t, `ServerName front.test
ProxyPass /rule/ http://backend.test:80/
ProxyPass /case/ http://BACKEND.test/
ProxyPass /port/ http://Backend.test:81/
ProxyPassMatch ^/match/(.*)$ http://Backend.test:80/$1
ProxyPass /member/ balancer://apps/
ProxyPass /name/ balancer://names/
<Proxy balancer://apps>
BalancerMember http://backend.test:80
</Proxy>
<Proxy balancer://names>
BalancerMember http://Backend.Test:81/
</Proxy>
<Location /section/>
ProxyPass http://Backend.test:80/
</Location>
RewriteEngine On
RewriteRule ^/rewritten/(.*)$ http://Backend.test:80/$1 [P]
RewriteRule ^/rewritten81/(.*)$ http://Backend.test:81/$1 [P]
<Location /kept/>
ProxyPreserveHost On
ProxyPass http://Backend.test:80/
</Location>
`, back.Config.Handler, "-resolve", "backend.test:81="+back.Listener.Addr().String())
	addr := p.server.addresses()["80"]
	for path, want := range map[string]string{
		"/rule/": "backend.test", "/case/": "backend.test", "/port/": "backend.test:81", "/match/": "backend.test", "/member/": "backend.test",
		"/name/": "backend.test:81", "/section/": "backend.test", "/rewritten/": "backend.test", "/rewritten81/": "backend.test:81", "/kept/": "Client.test:80",
	} {
		lines := ask(t, addr, "GET "+path+"x HTTP/1.1\r\nHost: Client.test:80\r\nConnection: close\r\n\r\n")
		require.Equal(t, `< "`+want+`"`, lines[len(lines)-1], path)
	}
}
