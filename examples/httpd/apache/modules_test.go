package apache

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// TestModules: <IfModule> holds for a module if the table has directives of it
// that do something, by httpd's names alone.
func TestModules(t *testing.T) {
	m := newModules(table())
	for word, want := range map[string]bool{
		"mod_proxy.c": true, "proxy_module": true, "proxy_http_module": true, "mod_proxy_balancer.c": true, "lbmethod_byrequests_module": true, "mod_lbmethod_heartbeat.c": true,
		"mod_headers.c": true, "headers_module": true, "mod_remoteip.c": true, "mod_cache_disk.c": true, "mod_authz_core.c": true, "mod_proxy_fcgi.c": true, "proxy_ajp_module": true, "mod_setenvif.c": true,
		"core.c": true, "event.c": true, "mpm_event_module": true, "mod_version.c": true, "mod_macro.c": true, "mod_log_config.c": true, "mod_unixd.c": true,
		"prefork.c": false, "mpm_prefork_module": false, "worker.c": false, "mod_mpm_event.c": false, "mod_php.c": false, "mod_php8.c": false, "php_module": false, "security2_module": false,
		"mod_lua.c": false, "mod_proxy": false, "proxy": false, "MOD_PROXY.C": false, "mod_lbmethod_none.c": false, "mod_dav.c": false, "": false,
	} {
		require.Equal(t, want, m.has(word), word)
	}
	engine := directive{name: "SSLEngine", apply: func(*builder, *scope, *conf.Directive) error { return nil }}
	require.True(t, newModules([]directive{engine}).has("mod_ssl.c"), "by its directive")
	require.False(t, newModules(nil).has("mod_ssl.c"))
	engine.refused = true
	require.False(t, newModules([]directive{engine}).has("mod_ssl.c"), "refused")
	var missing []string
	for _, d := range table() {
		if d.apply != nil && m.owner[d.key()] == "" {
			missing = append(missing, d.name)
		}
	}
	require.Empty(t, missing, "no directives of httpd, or words that are missing in modules.txt")
}

// TestUnknownDirectives: one of a module that is no part of the program names it,
// and what would do.
func TestUnknownDirectives(t *testing.T) {
	for text, want := range map[string]string{
		"DavLockDB x":                     "x.conf:2: DavLockDB of mod_dav_fs is not part of this program; <IfModule mod_dav_fs.c> leaves it out",
		"LuaRoot /x":                      "x.conf:2: LuaRoot of mod_lua is not part of this program; <IfModule mod_lua.c> leaves it out",
		"SecRuleEngine On":                "x.conf:2: SecRuleEngine of mod_security2 is not part of this program; a web application firewall runs as a proxy or a handler of its own, such as Coraza in Go",
		"JkMount /* worker1":              "x.conf:2: JkMount of mod_jk is not part of this program; ProxyPass to ajp:// does what JkMount does",
		"WSGIScriptAlias / /x":            "x.conf:2: WSGIScriptAlias of mod_wsgi is not part of this program; start the application with gunicorn or uwsgi, and lead to that with ProxyPass",
		"php_admin_value a b":             "x.conf:2: php_admin_value of mod_php is not part of this program; SetHandler \"proxy:fcgi://…\" leads scripts to php-fpm, whose pool has the settings of PHP",
		"<Perl>\n</Perl>":                 "x.conf:2: <Perl> of mod_perl is not part of this program; start the application with a server of its own, and lead to that with ProxyPass",
		"<PerlSections>\n</PerlSections>": "x.conf:2: <PerlSections> of mod_perl is not part of this program; start the application with a server of its own, and lead to that with ProxyPass",
		"DOSHashTableSize 3":              "x.conf:2: DOSHashTableSize of mod_evasive20 is not part of this program; limit clients by RequestReadTimeout, or in the embedding service",
		"OIDCClientID x":                  "x.conf:2: OIDCClientID of mod_auth_openidc is not part of this program; a proxy for sign-in, such as oauth2-proxy, does this in front of the backend",
	} {
		_, _, err := read("Listen 80\n" + text)
		require.EqualError(t, err, want, text)
	}
	_, warnings, err := read("Listen 80\nLoadModule security2_module x.so\nLoadModule speling_module x.so\nLoadModule mine_module x.so\nLoadModule proxy_module x.so")
	require.NoError(t, err)
	require.Equal(t, []string{
		"x.conf:2: security2_module is not part of this program; a web application firewall runs as a proxy or a handler of its own, such as Coraza in Go",
		"x.conf:4: mine_module is not known here, and does nothing",
	}, warnings)
}

// TestLeftOut: a section of a module that is not here is told if something in it
// would have had an effect, once.
func TestLeftOut(t *testing.T) {
	site, err := Parse(strings.Join([]string{
		"Listen 80",
		"<IfModule mod_php5.c>", "php_flag x on", "</IfModule>",
		"<IfModule mod_php7.c>", "php_flag x on", "<Location /x>", "ProxyPass http://b/", "</Location>", "</IfModule>",
		"<IfModule mpm_prefork_module>", "StartServers 3", "</IfModule>",
		"<IfModule !mod_proxy.c>", "ProxyPass /x http://b/", "</IfModule>",
	}, "\n"), "x.conf", Options{})
	require.NoError(t, err)
	defer site.Close()
	require.Equal(t, Problems{{File: "x.conf", Line: 5, Directive: "IfModule", Severity: SeverityWarning,
		Message: "<IfModule mod_php7.c> is left out, for that module is not part of this program; Location in line 7 has no effect"}}, site.Warnings())
}
