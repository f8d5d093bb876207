package apache

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/ftpproxy"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/wstunnel"
)

// TestNoSecretsOfMalformedURLs: whatever takes a URL as text, the error says
// nothing of the credentials in it, wherever the URL is broken.
func TestNoSecretsOfMalformedURLs(t *testing.T) {
	second := func(_ any, err error) error { return err }
	parsers := map[string]func(u string) error{
		"backend.Parse":          func(u string) error { return second(backend.Parse(u)) },
		"backend.ParseURL":       func(u string) error { return second(backend.ParseURL(u)) },
		"proxy.NewHandler":       func(u string) error { return second(proxy.NewHandler("/", u)) },
		"proxy.NewHandler, /a":   func(u string) error { return second(proxy.NewHandler("/a", u)) },
		"proxy.NewMatchHandler":  func(u string) error { return second(proxy.NewMatchHandler("^/(.*)", u)) },
		"proxy.NewMatchHandler$": func(u string) error { return second(proxy.NewMatchHandler("^/(.*)", u+"$9$1")) },
		"proxy.Handler, Reverse": func(u string) (err error) {
			h, _ := proxy.NewHandler("/", "http://x/")
			h.Reverse = []proxy.ReverseRule{{Path: "/", URL: u}}
			_, _, err = h.MapURL(&url.URL{Path: "/"})
			return err
		},
		"wstunnel.NewHandler": func(u string) error { return second(wstunnel.NewHandler("/", u)) },
		"fcgi.NewHandler":     func(u string) error { return second(fcgi.NewHandler("/srv", u)) },
		"fcgi.NewAuthorizer":  func(u string) error { return second(fcgi.NewAuthorizer(u)) },
		"ajp.NewHandler":      func(u string) error { return second(ajp.NewHandler("/", u)) },
		"ftpproxy.NewHandler": func(u string) error { return second(ftpproxy.NewHandler("/", u)) },
		"connect.NewRemote":   func(u string) error { return second(connect.NewRemote("*", u)) },
		"balancer.New":        func(u string) error { return second(balancer.New(balancer.Config{}, balancer.MemberConfig{URL: u})) },
		"balancer.NewMember":  func(u string) error { return second(balancer.NewMember(balancer.MemberConfig{URL: u})) },
		"cache.Purge": func(u string) error {
			return second((&cache.Cache{}).Purge(context.Background(), u, cache.PurgeMode(0)))
		},
		"access.ParseAuthority": func(u string) error {
			_, _, err := access.ParseAuthority(u)
			return err
		},
	}
	for _, directive := range []string{
		"ProxyPass / %s", "ProxyPass /a/ %s", "ProxyPass /a/ %s\nProxyPassReverse /a/ %s", "ProxyPassMatch ^/(.*) %s$1", "ProxyPassReverse / %s",
		"ProxyRemote * %s", "ProxyRemoteMatch .* %s", "CacheKeyBaseURL %s", "SetHandler proxy:%s",
		"<Proxy balancer://b>\nBalancerMember %s\n</Proxy>\nProxyPass / balancer://b/", "RewriteEngine On\nRewriteRule ^/(.*) %s [P]",
	} {
		parsers[directive] = func(u string) error {
			text := strings.ReplaceAll(directive, "%s", `"`+u+`"`)
			list, err := conf.Parse(strings.NewReader(text), "test.conf", conf.Options{})
			if err == nil {
				warned := ""
				_, err = build(list, options{}, func(err error) { warned += err.Error() })
				require.NotContains(t, warned, "secret", text)
			}
			return err
		}
	}
	urls := []string{}
	for _, scheme := range []string{"http", "https", "ws", "fcgi", "ajp", "ftp", "x", "HTTP"} {
		for _, rest := range []string{
			"user:secret@[::1/", "user:secret@host:port99999/", "user:secret@host:99999/", "user:secret@/", "user:secret@", "user:secret@host/%zz",
			"user:secret%zz@host/", "user:sec ret@host/", "user:secret@ho st/", "user:secret\x01@host/", "user:secret@host\x7f/", "user:secret/x@host/",
			"user:secret?x@host/", "user:secret#@host/", "user:secret@host:/", "user:secret@host/?x", "user:secret@host/#x", "user:secret@[fe80::1%25]/", "us\"er:secret@host:x/",
		} {
			urls = append(urls, scheme+"://"+rest)
		}
		urls = append(urls, scheme+":user:secret@host/", scheme+"//user:secret@host/")
	}
	urls = append(urls, "user:secret@host", "//user:secret@host/", "://user:secret@host/", ":user:secret@", "unix:http://u:secret@x/", "unix:|http://u:secret@/", "unix:/x|http://u:secret@/", "unix:/x|http://u:secret@[/", "unix:/x|user:secret@", "balancer://u:secret@[/")
	for name, parse := range parsers {
		for _, u := range urls {
			if err := parse(u); err != nil {
				require.NotContains(t, err.Error(), "secret", "%s %q", name, u)
				require.NotContains(t, err.Error(), "sec ret", "%s %q", name, u)
			}
		}
	}
}
