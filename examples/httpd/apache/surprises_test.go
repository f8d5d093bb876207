package apache

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSurprises: what is accepted as by httpd and cannot have the effect that it
// seems to have is told, with both places.
func TestSurprises(t *testing.T) {
	const vhost = "<VirtualHost *:80>\nServerName one.test\nServerAlias www.one.test\n</VirtualHost>\n"
	for text, want := range map[string][]string{
		"ProxyPass / http://b/\nProxyPass /a http://a/a":                                                               {"x.conf:3: ProxyPass /a is never used: ProxyPass in x.conf, line 2, takes all of it"},
		"ProxyPass /a http://b/a\nProxyPass / http://a/":                                                               nil,
		"ProxyPass /a http://b/a\nProxyPass /a http://c/a":                                                             {"x.conf:3: ProxyPass /a is never used: ProxyPass in x.conf, line 2, takes all of it"},
		"ProxyPass /a http://b/a\nProxyPass /ab http://c/a":                                                            nil,
		"ProxyPass /a http://b/a\nProxyPass /a/ http://c/":                                                             {"x.conf:3: ProxyPass /a/ is never used: ProxyPass in x.conf, line 2, takes all of it"},
		"ProxyPass /a/ http://b/\nProxyPass /a http://c/a":                                                             nil,
		"ProxyPass /a http://b/a\nProxyPass /a/no !":                                                                   {"x.conf:3: ProxyPass /a/no is never used: ProxyPass in x.conf, line 2, takes all of it"},
		"ProxyPass /a !\nProxyPass /a/b http://b/b":                                                                    {"x.conf:3: ProxyPass /a/b is never used: ProxyPass in x.conf, line 2, takes all of it"},
		"ProxyPassMatch ^/a http://b/a\nProxyPass /a http://b/a":                                                       nil,
		"ProxyPass /a http://b/a\n<VirtualHost *:80>\nProxyPass /a/b http://b/b\n</VirtualHost>":                       {"x.conf:4: ProxyPass /a/b is never used: ProxyPass in x.conf, line 2, takes all of it"},
		"ProxyPass /a http://b/a\n<VirtualHost *:80>\nProxyPassInherit Off\nProxyPass /a/b http://b/b\n</VirtualHost>": nil,
		"<Location /a/b>\nProxyPass http://b/a/b\n</Location>\n<Location /a>\nProxyPass http://a/a\n</Location>":       {"x.conf:3: ProxyPass /a/b is never used: ProxyPass in x.conf, line 6, takes all of it"},
		"<Location /a>\nProxyPass http://b/a\n</Location>\n<Location /a/b>\nProxyPass http://a/a/b\n</Location>":       nil,
		vhost + "<VirtualHost *:80>\nServerName two.test\nServerAlias WWW.one.test\n</VirtualHost>":                    {"x.conf:6: WWW.one.test leads to the <VirtualHost> on the same address in x.conf, line 2"},
		vhost + "<VirtualHost *:80>\nServerName one.test\n</VirtualHost>":                                              {"x.conf:6: one.test leads to the <VirtualHost> on the same address in x.conf, line 2"},
		vhost + "Listen 81\n<VirtualHost *:81>\nServerName one.test\n</VirtualHost>":                                   nil,
		"<VirtualHost *:80>\n</VirtualHost>\n<VirtualHost _default_:80>\n</VirtualHost>":                               {"x.conf:4: this <VirtualHost> is never used: it has no ServerName, as that on the same address in x.conf, line 2"},
		"<VirtualHost *:443>\n</VirtualHost>":                                                                          {"x.conf:2: nothing listens on *:443 of this <VirtualHost>; add Listen *:443"},
		"<VirtualHost *>\n</VirtualHost>":                                                                              nil,
		"<VirtualHost 10.1.2.3:80>\n</VirtualHost>":                                                                    nil,
		"Listen 127.0.0.1:81\n<VirtualHost 127.0.0.2:81>\n</VirtualHost>":                                              {"x.conf:3: nothing listens on 127.0.0.2:81 of this <VirtualHost>; add Listen 127.0.0.2:81"},
		"<VirtualHost nowhere.invalid:80>\n</VirtualHost>":                                                             {"x.conf:2: nowhere.invalid has no address: this <VirtualHost> is not reached by it"},
		"Listen 80":                      {"x.conf:2: Listen 80 has no effect: Listen 80 is the same"},
		"Listen *:80\nListen 0.0.0.0:80": {"x.conf:2: Listen *:80 has no effect: Listen 80 is the same", "x.conf:3: Listen 0.0.0.0:80 has no effect: Listen 80 is the same"},
		"Listen [::]:80":                 {"x.conf:2: Listen [::]:80 has no effect: Listen 80 is the same"},
		"<Proxy balancer://b>\nBalancerMember http://a\nBalancerMember http://a loadfactor=2\n</Proxy>": {"x.conf:4: BalancerMember http://a is that of x.conf, line 3: its parameters are added to those"},
		"<Proxy balancer://b>\nBalancerMember http://a\nProxySet lbmethod=heartbeat\n</Proxy>":          {"x.conf:2: lbmethod=heartbeat has no announcements here: all members count as equally idle"},
		"NameVirtualHost *:80":                      {"x.conf:2: NameVirtualHost *:80 has no effect: virtual hosts on one address are told apart by name in any case"},
		"ServerPath /x":                             {"x.conf:2: ServerPath /x has no effect: clients say by Host which virtual host they want"},
		"MergeSlashes On":                           nil,
		"MergeSlashes Off":                          {"x.conf:2: MergeSlashes Off has no effect: slashes are always merged before paths are compared"},
		"MergeTrailers On":                          {"x.conf:2: MergeTrailers On has no effect: trailers stay trailers"},
		"QualifyRedirectURL On":                     {"x.conf:2: QualifyRedirectURL On has no effect: REDIRECT_URL is a path"},
		"UseCanonicalPhysicalPort On":               {"x.conf:2: UseCanonicalPhysicalPort On has no effect: the port is that of ServerName or of the client's Host"},
		"HttpProtocolOptions Strict LenientMethods": nil,
		"HttpProtocolOptions Unsafe":                {"x.conf:2: HttpProtocolOptions Unsafe has no effect: requests are read strictly, and their methods are not looked up"},
		"ChrootDir /x":                              {"x.conf:2: ChrootDir /x has no effect: the root of the process is the embedder's"},
		"UserDir disabled":                          nil,
	} {
		_, warnings, err := read("Listen 80\n" + text)
		require.NoError(t, err, text)
		require.Equal(t, want, warnings, text)
	}
	for text, want := range map[string]string{
		"Listen 65536":                                                  `x.conf:2: Listen: "65536" is no port or address:port`,
		"Listen 0":                                                      `x.conf:2: Listen: "0" is no port or address:port`,
		"<VirtualHost *:65536>\n</VirtualHost>":                         `x.conf:2: VirtualHost: "*:65536" is no address:port`,
		"<VirtualHost 70000>\n</VirtualHost>":                           `x.conf:2: VirtualHost: "70000" is no address:port`,
		"UserDir public_html":                                           "x.conf:2: UserDir: folders of users are not served; Alias leads to one",
		"ProxyPass / http://b/ upgrade=on":                              `x.conf:2: ProxyPass: upgrade=on: "on" is no protocol, as websocket is; ANY stands for all, NONE for none`,
		"ProxyPass / http://b/ upgrade=web(socket)":                     `x.conf:2: ProxyPass: upgrade=web(socket): "web(socket)" is no protocol, as websocket is; ANY stands for all, NONE for none`,
		"ServerName http://x:70000":                                     "",
		"ProxyPass / http://b:70000/":                                   "",
		"ProxyPassMatch ^/(.*) http://b:70000/$1":                       "",
		"ProxyPass / h2://b:70000/":                                     "",
		"ProxyPass / fcgi://b:70000/":                                   "",
		"ProxyPass / ajp://b:70000/":                                    "",
		"ProxyPass / ftp://b:70000/":                                    "",
		"ProxyPass / ws://b:70000/":                                     "",
		"<Proxy balancer://b>\nBalancerMember http://b:70000\n</Proxy>": "",
		"ProxyRemote * http://b:70000":                                  "",
	} {
		site, err := Parse("Listen 80\n"+text, "x.conf", Options{})
		if err == nil {
			site.Close()
		}
		if want == "" {
			require.ErrorContains(t, err, "70000", text)
			continue
		}
		require.EqualError(t, err, want, text)
	}
}

// TestWarningsOfTheStart are those that come up when a site is made ready.
func TestWarningsOfTheStart(t *testing.T) {
	for text, want := range map[string][]string{
		"CacheEnable disk /": {"x.conf:2: warning: CacheEnable disk stores nothing without a CacheRoot"},
		"CacheQuickHandler Off\n<Location /x>\nCacheEnable disk\n</Location>":                {"x.conf:3: warning: CacheEnable disk stores nothing without a CacheRoot"},
		"<Proxy balancer://b>\nBalancerMember http://a hcinterval=5\n</Proxy>":               {"x.conf:3: warning: the parameters of health checks have no effect without hcmethod"},
		"<Proxy balancer://b>\nBalancerMember http://a hcinterval=5 hcmethod=NONE\n</Proxy>": nil,
	} {
		site, err := Parse("Listen 80\n"+text, "x.conf", Options{})
		require.NoError(t, err, text)
		var got []string
		for _, w := range site.Warnings() {
			got = append(got, w.Error())
		}
		require.Equal(t, want, got, text)
		require.NoError(t, site.Close())
	}
}
