package apache

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// read builds a configuration from text, and returns its warnings.
func read(text string) (*builder, []string, error) {
	list, err := conf.Parse(strings.NewReader(text), "x.conf", conf.Options{HasModule: newModules(table()).has})
	if err != nil {
		return nil, nil, err
	}
	var warnings []string
	b, err := build(list, options{}, func(err error) { warnings = append(warnings, err.Error()) })
	return b, warnings, err
}

func TestConfigurationErrors(t *testing.T) {
	for text, want := range map[string]string{
		"ProxyPas / http://b/":                               "x.conf:2: ProxyPas is not known; did you mean ProxyPass?",
		"<Locaton /x>\n</Locaton>":                           "x.conf:2: <Locaton> is not known; did you mean <Location>?",
		"Zzzzzzzzzzzzzz":                                     "x.conf:2: Zzzzzzzzzzzzzz is not known",
		"ProxyPass":                                          "x.conf:2: ProxyPass takes at least 1 argument(s), not 0",
		"ProxyPreserveHost On Off":                           "x.conf:2: ProxyPreserveHost takes 1 argument(s), not 2",
		"ProxyPreserveHost Maybe":                            "x.conf:2: ProxyPreserveHost is On or Off",
		"Require all granted":                                "x.conf:2: Require may not stand here",
		"<VirtualHost *:80>\nListen 81\n</VirtualHost>":      "x.conf:3: Listen may not stand here",
		"ProxyPass /a gopher://b/":                           `x.conf:2: ProxyPass: scheme "gopher" is not known`,
		"ProxyPass a http://b/":                              `x.conf:2: ProxyPass: path "a" does not begin with a slash`,
		"ProxyPass /a http://b/ max=x":                       "x.conf:2: ProxyPass: max=x: want a number of at least 0",
		"ProxyPass /a http://b/ timeout=0":                   "x.conf:2: ProxyPass: timeout=0: want a duration of at least 1s",
		"ProxyPass /a http://b/ acquire=0":                   "x.conf:2: ProxyPass: acquire=0: want a duration of at least 1ms",
		"ProxyPass /a http://b/ ttl=":                        `x.conf:2: ProxyPass: parameter "ttl" has no value`,
		"ProxyPass /a http://b/ color=red":                   `x.conf:2: ProxyPass: parameter "color" is not known`,
		"ProxyPassMatch ^/(a http://b/":                      "x.conf:2: ProxyPassMatch: regular expression \"^/(a\": missing )",
		"ProxyPassMatch ^/(.*)$ http://$1/":                  "",
		"<Location /a>\nProxyPass /a http://b/\n</Location>": `x.conf:3: ProxyPass: inside <Location> the path is the section's: leave "/a" out`,
		"<Location a>\n</Location>":                          `x.conf:2: path "a" does not begin with a slash`,
		"<Location /a>\nRequire wizards me\n</Location>":     `x.conf:3: Require: "wizards" is not known: all, ip, host, forward-dns, local, method, env, expr, valid-user, user and group are`,
		"<Location /a>\nRequire ip x\n</Location>":           `x.conf:3: Require: access: "x" is no address or network`,
		"<Location /a>\n<RequireAny>\nRequire not ip 1.1.1.1\n</RequireAny>\n</Location>": "x.conf:4: Require: a negative Require has no effect in <RequireAny>: put it into <RequireAll>",
		"<Location /a>\n<RequireAll>\n</RequireAll>\n</Location>":                         "x.conf:3: RequireAll: the section requires nothing",
		"AllowEncodedSlashes Maybe":                    "x.conf:2: AllowEncodedSlashes is On, Off or NoDecode",
		"ErrorDocument 200 x":                          `x.conf:2: ErrorDocument: "200" is no code from 400 to 599`,
		"ErrorDocument 401 http://x.test/":             "x.conf:2: ErrorDocument: a 401 cannot be answered with the URL of another place",
		"RequestHeader paint X a":                      `x.conf:2: RequestHeader: action "paint" is not known`,
		`RequestHeader set "X Y" 1`:                    `x.conf:2: RequestHeader: "X Y" is no name of a field`,
		"Header always edit X ( y":                     "x.conf:2: Header: regular expression \"(\": missing )",
		"Header set X expr=%{LDAP:x}":                  "x.conf:2: Header: expression: byte 1: function LDAP(x) is not known",
		"Header set X":                                 "x.conf:2: Header: set takes 1 more argument(s)",
		"SetEnvIf X ( y":                               "x.conf:2: SetEnvIf: regular expression \"(\": missing )",
		"RemoteIPTrustedProxy proxy.test":              `x.conf:2: RemoteIPTrustedProxy: access: "proxy.test" is no address or network`,
		"RemoteIPHeader X:Y":                           `x.conf:2: "X:Y" is no name of a field`,
		"CustomLog x %U unless=x":                      `x.conf:2: CustomLog: condition "unless=x" is neither env= nor expr=`,
		"CustomLog x %U env=!":                         "x.conf:2: CustomLog: env= names no variable",
		"<Location /a>\nRequire not ip 1\n</Location>": "x.conf:3: Require: a negative Require has no effect in <RequireAny>: put it into <RequireAll>",
		"<Location /a>\n<RequireNone>\nRequire local\n</RequireNone>\n</Location>":   "x.conf:3: RequireNone: <RequireNone> has no effect in <RequireAny>: put it into <RequireAll>",
		"<Location /a>\n<RequireAll>\nRequire not local\n</RequireAll>\n</Location>": "x.conf:3: RequireAll: the section has only negative requirements",
		"LogLevel loud": `x.conf:2: LogLevel: level "loud" is not known: emerg, alert, crit, error, warn, notice, info, debug and trace1 to trace8 are`,
		"<VirtualHost *:80>\nGlobalLog x %U\n</VirtualHost>": "x.conf:3: GlobalLog may not stand here",
		`LogFormat "%z" x`:                            "x.conf:2: LogFormat: accesslog: %z is not known",
		"ProxyErrorOverride On 300":                   `x.conf:2: ProxyErrorOverride: "300" is no code from 400 to 599`,
		"Listen x":                                    `x.conf:2: Listen: "x" is no port or address:port`,
		"ProxySet http://b/ mapping=servlet":          "x.conf:2: ProxySet: mapping belongs to ProxyPass",
		"<Proxy http://b/ mapping=encoded>\n</Proxy>": "x.conf:2: Proxy: mapping belongs to ProxyPass",
		"ProxySet max=3":                              "x.conf:2: ProxySet: want a URL before the parameters",
	} {
		_, _, err := read("Listen 80\n" + text)
		if want == "" {
			require.Error(t, err, text)
			continue
		}
		require.EqualError(t, err, want, text)
	}
}

// TestNothingListens: a part of a configuration can be checked, and be a Handler, but
// it cannot listen.
func TestNothingListens(t *testing.T) {
	site, err := Parse("ServerName x\nErrorDocument 404 \"none\"", "x.conf", Options{})
	require.NoError(t, err)
	defer site.Close()
	require.Contains(t, site.Warnings().Error(), "nothing listens")
	w := httptest.NewRecorder()
	site.Handler("80").ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, 404, w.Code)
	require.ErrorContains(t, site.Start(), "nothing listens")
}

func TestUnevenSlashesWarn(t *testing.T) {
	_, warnings, err := read("Listen 80\nProxyPass /a/ http://b/x\nProxyPass /c http://b/x\nProxyPass / http://b\n")
	require.NoError(t, err)
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0], "x.conf:2:")
}

func TestAcceptedWithoutEffect(t *testing.T) {
	_, _, err := read("LoadModule proxy_module modules/mod_proxy.so\nServerRoot /etc\nUser x\nListen 80\nKeepAlive On\n<IfModule mod_proxy_http.c>\nProxyPass /a http://b/a\n</IfModule>\n<IfModule mod_php.c>\nNonsense\n</IfModule>\n<Directory />\nAllowOverride None\n</Directory>")
	require.NoError(t, err)
}

// TestTableIsSound: no directive twice, none without a place.
func TestTableIsSound(t *testing.T) {
	seen := make(map[string]bool)
	for _, d := range table() {
		key := strings.ToLower(d.name)
		if d.section {
			key = "<" + key
		}
		require.False(t, seen[key], "%s stands twice in the table", d.name)
		seen[key] = true
		require.NotZero(t, d.in, d.name)
		if d.apply == nil {
			require.NotEmpty(t, d.note, d.name)
		}
	}
}
