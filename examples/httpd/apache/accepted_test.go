package apache

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// acceptedTexts are configurations, and whether they are accepted: by httpd, too,
// unless ours has a reason of its own, which then stands here.
var acceptedTexts = []struct {
	text    string
	ours    bool
	differs string // why httpd does otherwise
}{
	{"# nothing", true, ""},
	{"ServerName a.test\nServerName http://b.test:81", true, ""},
	{"Define X \"a b\"\nServerAdmin ${X}", true, "ServerAdmin has no effect, so that its words are not counted"},
	{"ServerAdmin \"open quote", true, ""},
	{"<Location \"/open>\n</Location>", true, ""},
	{"<Location /x> # more\n</Location> # more", true, ""},
	{"<Location /x\n</Location>", false, ""},
	{"<Location /x>\n</Location", false, ""},
	{"<Location /x>\n</ Location>", false, ""},
	{"<Location /x>\n</Proxy>", false, ""},
	{"<Location /x>", false, ""},
	{"</Location>", false, ""},
	{"<location /x>\n</LOCATION>", true, ""},
	{"<Location ~ ^/x>\n</Location>", true, ""},
	{"<Location ^/x ~>\n</Location>", false, ""},
	{"<LocationMatch (>\n</LocationMatch>", false, ""},
	{"<VirtualHost *:80>\n<Location /x>\n</VirtualHost>\n</Location>", false, ""},
	{"<IfModule nobody>\n<Foo>\nNonsense \"x\n</Foo>\n</IfModule>", true, ""},
	{"<IfModule mod_proxy>\nNonsense\n</IfModule>\n<IfModule mod_mpm_event.c>\nNonsense\n</IfModule>\n<IfModule prefork.c>\nNonsense\n</IfModule>", true, ""},
	{"<IfModule event.c>\nNonsense\n</IfModule>", false, ""},
	{"<IfModule !proxy_http_module>\nNonsense\n</IfModule>", true, ""},
	{"<IfDefine !X>\n<IfDefine X>\nNonsense\n</IfDefine>\n</IfDefine>", true, ""},
	{"<IfVersion < 2.4>\nNonsense\n</IfVersion>", true, ""},
	{"<IfFile nobody>\nNonsense\n</IfFile>", true, ""},
	{"<IfDirective Nobody>\nNonsense\n</IfDirective>\n<IfSection VirtualHost>\nServerAdmin x\n</IfSection>", true, ""},
	{"Error stop", false, ""},
	{"Nonsense", false, ""},
	{"Include nobody.conf", false, ""},
	{"Include nobody/*.conf", false, ""},
	{"IncludeOptional nobody.conf\nIncludeOptional nobody/*.conf", true, ""},
	{"Include", false, ""},
	{"<Macro M $a>\nServerAdmin $a\n</Macro>\nUse M x\nUse m y", true, ""},
	{"<Macro M $a>\n<Location /$a>\nProxyPreserveHost On\n</Macro>\nUse M x\n</Location>", true, "a section that begins in a macro may end behind it; httpd wants it closed there"},
	{"<Macro M $a>\nServerAdmin $a\n</Macro>\nUse M", false, ""},
	{"<Macro M a a>\n</Macro>", false, ""},
	{"Use M", false, ""},
	{"UndefMacro M", false, ""},
	{"<Macro M>\nUse M\n</Macro>\nUse M", false, ""},
	{"Listen 70000", false, ""},
	{"Listen x", false, ""},
	{"ProxyPass / http://b.test/\nProxyPass /a http://b.test/a", true, ""},
	{"ProxyPass / nothing", false, ""},
	{"ProxyPass a http://b.test/", false, "httpd takes the path, which then fits no request"},
	{"<Proxy balancer://b>\nBalancerMember http://a.test\nBalancerMember http://a.test loadfactor=2\n</Proxy>", true, ""},
	{"<Proxy balancer://b>\nBalancerMember http://a.test loadfactor=x\n</Proxy>", false, ""},
	{"<Proxy balancer://b>\nBalancerMember http://a.test hcinterval=5\n</Proxy>", true, ""},
	{"ProxyPass / http://b.test/ color=red", false, ""},
	{"CacheEnable disk /", true, ""},
	{"NameVirtualHost *:80", true, ""},
	{"<VirtualHost nobody.invalid>\n</VirtualHost>", true, ""},
	{"<VirtualHost *:80>\nServerAlias *.a.test b?.test\nServerPath /x\n</VirtualHost>", true, ""},
	{"ServerAlias x", false, ""},
	{"ServerTokens Prod\nServerSignature Off\nTraceEnable extended\nUseCanonicalName DNS", false, "names of hosts are not looked up"},
	{"LimitRequestBody 10\nLimitRequestFields 20\nLimitRequestFieldSize 300\nLimitRequestLine 400\nLimitXMLRequestBody 1", true, ""},
	{"LimitRequestFields -1", false, ""},
	{"KeepAlive Off\nKeepAliveTimeout 5\nMaxKeepAliveRequests 0\nTimeout 60", true, ""},
	{"KeepAlive Maybe", false, ""},
	{"HttpProtocolOptions Unsafe\nMergeSlashes Off\nQualifyRedirectURL On\nRegisterHttpMethod BREW\nStrictHostCheck On", true, ""},
	{"StartServers 2\nThreadsPerChild 5\nMaxRequestWorkers 10\nGracefulShutdownTimeout 3\nListenBacklog 9\nAcceptFilter http none", true, ""},
	{"ExtendedStatus On\nRLimitCPU 10 20\nMaxMemFree 10\nThreadStackSize 65536\nEnableMMAP Off", true, ""},
	{"<Location />\nAllowMethods GET POST\n</Location>", true, ""},
}

// TestAccepted: what httpd accepts is accepted, and what it refuses is refused.
func TestAccepted(t *testing.T) {
	httpd := programs.Find(t, "apache2", "apache2", "httpd")
	dir := t.TempDir()
	for _, tc := range acceptedTexts {
		site, err := Parse("Listen 80\n"+tc.text, "x.conf", Options{Root: dir, Listen: map[string]string{"80": "127.0.0.1:0"}})
		if err == nil {
			require.NoError(t, site.Close())
		}
		assert.Equal(t, tc.ours, err == nil, "%s\n%v", tc.text, err)
		args, err := programs.HTTPDArgs(dir, "127.0.0.1:80", "allowmethods authz_host macro proxy proxy_http proxy_balancer lbmethod_byrequests slotmem_shm watchdog proxy_hcheck cache cache_disk", tc.text)
		if err != nil { // a module that is built in
			args, err = programs.HTTPDArgs(dir, "127.0.0.1:80", "allowmethods authz_host macro proxy proxy_http proxy_balancer lbmethod_byrequests slotmem_shm proxy_hcheck cache cache_disk", tc.text)
		}
		require.NoError(t, err)
		out, err := exec.Command(httpd, append(args, "-t")...).CombinedOutput()
		theirs := err == nil && strings.Contains(string(out), "Syntax OK")
		assert.Equal(t, tc.ours != (tc.differs != ""), theirs, "%s\n%s", tc.text, out)
	}
}
