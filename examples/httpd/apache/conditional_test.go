package apache

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestConditionalErrors: what a condition could not do is said with its place.
func TestConditionalErrors(t *testing.T) {
	for config, want := range map[string]string{
		"<If \"%{NOTHING} == 'x'\">\n</If>":                           "x.conf:1: If: expression: byte 1: variable %{NOTHING} is not known",
		"<Else>\n</Else>":                                             "x.conf:1: Else: there is no <If> before it",
		"<ElseIf true>\n</ElseIf>":                                    "x.conf:1: ElseIf: there is no <If> before it",
		"<If true>\n<Else>\n</Else>\n</If>":                           "x.conf:2: Else: there is no <If> before it",
		"<If true>\n</If>\n<Else>\n</Else>\n<Else>\n</Else>":          "x.conf:5: Else: there is an <Else> before it",
		"<If true>\n</If>\n<Else>\n</Else>\n<ElseIf true>\n</ElseIf>": "x.conf:5: ElseIf: there is an <Else> before it",
		"<If true>\nProxyVia sometimes\n</If>":                        "x.conf:2: ",
		"Header set X \"expr=%{NOTHING}\"":                            "x.conf:1: Header: expression: byte 1: variable %{NOTHING} is not known",
		"ProxyFCGISetEnvIf true X \"%{NOTHING}\"":                     "x.conf:1: ProxyFCGISetEnvIf: expression: byte 1: variable %{NOTHING} is not known",
	} {
		_, _, err := read(config + "\nListen 80\n")
		require.ErrorContains(t, err, want, config)
	}
}

// TestConditionalHandler: SetHandler in an <If> leads to its backend, as in
// <Location>.
func TestConditionalHandler(t *testing.T) {
	p := start(t, `DocumentRoot /srv/www
<If "%{REQUEST_URI} =~ /\.php$/">
	SetHandler "proxy:fcgi://app.test:9000"
</If>
<ElseIf "%{REQUEST_URI} == '/status'">
	SetHandler server-status
</ElseIf>
<Else>
	<If "%{QUERY_STRING} == 'closed'">
		Require all denied
	</If>
</Else>
`, echo, "-resolve", "app.test:9000=127.0.0.1:1")
	for path, code := range map[string]int{"/x.php": 503, "/status": 200, "/other": 404, "/other?closed": 403, "/x.php?closed": 503} {
		resp, _ := p.get("80", "h.test"+path)
		require.Equal(t, code, resp.StatusCode, path)
	}
}
