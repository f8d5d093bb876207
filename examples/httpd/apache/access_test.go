package apache

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAccessErrors: what access control could not do is said with its place.
func TestAccessErrors(t *testing.T) {
	for config, want := range map[string]string{
		"Order allow, deny":                                 "x.conf:2: Order takes 1 argument(s), not 2",
		"Order first":                                       "x.conf:2: Order: want deny,allow or allow,deny or mutual-failure, without a blank",
		"Allow all please":                                  `x.conf:2: Allow: want "from" first`,
		"Deny from 10.0.0.0/33":                             `x.conf:2: Deny: "10.0.0.0/33" is no address, network or host`,
		"Deny from 1.2.3.4.5":                               `x.conf:2: Deny: "1.2.3.4.5" is no address, network or host`,
		"Satisfy both":                                      "x.conf:2: Satisfy: want Any or All",
		"<Limit TRACE>\n</Limit>":                           "x.conf:2: Limit: TRACE is not controlled by it, see TraceEnable",
		"<Limit>\n</Limit>":                                 "x.conf:2: Limit takes at least 1 argument(s), not 0",
		"<Limit GET>\n<Limit PUT>\n</Limit>\n</Limit>":      "x.conf:3: Limit: it may not stand in another one",
		"<LimitExcept GET>\nRequire wizard\n</LimitExcept>": `x.conf:3: Require: "wizard" is not known: all, ip, host, forward-dns, local, method, env, expr, valid-user, user and group are`,
		"Require ldap-group x":                              `x.conf:2: Require: "ldap-group" is not supported: it belongs to mod_authnz_ldap`,
		"Require expr %{NOTHING}":                           "x.conf:2: Require: expression: byte 1: variable %{NOTHING} is not known",
		"Require user %{NOTHING}":                           "x.conf:2: Require: expression: byte 1: variable %{NOTHING} is not known",
		"Require host a%{":                                  "x.conf:2: Require: expression: byte 2: variable has no }",
		"Require all granted or denied":                     "x.conf:2: Require: want all granted or all denied",
		"Require not":                                       "x.conf:2: Require: nothing is required",
		"AuthMerging Maybe":                                 "x.conf:2: AuthMerging: want Off, And or Or",
		"AuthType Form":                                     "x.conf:2: AuthType: Form is not supported: it belongs to mod_auth_form; Basic, Digest and None are",
		"AuthType openid-connect":                           "x.conf:2: AuthType: openid-connect is not supported: it belongs to mod_auth_openidc; Basic, Digest and None are",
		"AuthBasicProvider file ldap":                       "x.conf:2: AuthBasicProvider: provider ldap is not supported: it belongs to mod_authnz_ldap; file is",
		"AuthBasicFake %{ x":                                "x.conf:2: AuthBasicFake: expression: byte 1: variable has no }",
		"<RequireNone>\n<RequireNone>\nRequire local\n</RequireNone>\n</RequireNone>": "x.conf:3: RequireNone: <RequireNone> has no effect in <RequireNone>: put it into <RequireAll>",
	} {
		_, _, err := read("<Location />\n" + config + "\n</Location>\nListen 80\n")
		require.ErrorContains(t, err, want, config)
	}
	for _, directive := range []string{"Require all granted", "Order allow,deny", "Satisfy any", "AuthType Basic", "<Limit GET>\n</Limit>"} {
		_, _, err := read(directive + "\nListen 80\n")
		require.ErrorContains(t, err, "may not stand here", directive)
	}
}

// TestFilesOfUsers: an AuthUserFile or AuthGroupFile that is not there is told, and
// lets nobody in until it is; a change counts a second later.
func TestFilesOfUsers(t *testing.T) {
	dir := t.TempDir()
	users, groups := filepath.Join(dir, "users"), filepath.Join(dir, "groups")
	config := "ProxyPass / http://backend.test/\n<Location />\nAuthType Basic\nAuthName x\nAuthUserFile " + users + "\nAuthGroupFile " + groups + "\nRequire group staff\n</Location>\n"
	_, warnings, err := read("Listen 80\n" + config)
	require.NoError(t, err)
	require.Len(t, warnings, 2)
	require.Contains(t, warnings[0], "x.conf:6: AuthUserFile: nobody can log in: ")
	require.Contains(t, warnings[1], "x.conf:7: AuthGroupFile: nobody is in a group: ")
	p := start(t, config, echo)
	ask := func() int {
		resp, _ := p.get("80", "x.test/", withUser("Authorization", "carl", "secret"))
		return resp.StatusCode
	}
	require.Equal(t, http.StatusInternalServerError, ask())
	require.NoError(t, os.WriteFile(users, []byte("carl:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"), 0o600))
	require.Equal(t, http.StatusUnauthorized, ask())
	require.NoError(t, os.WriteFile(groups, []byte("staff: carl\n"), 0o600))
	require.Eventually(t, func() bool { return ask() == http.StatusOK }, 20*time.Second, 20*time.Millisecond)
	require.NoError(t, os.WriteFile(groups, []byte("staff: dora\n"), 0o600))
	require.Eventually(t, func() bool { return ask() == http.StatusUnauthorized }, 20*time.Second, 20*time.Millisecond)
}

// TestMethodSet: what is for one set of methods or another is for all in either.
func TestMethodSet(t *testing.T) {
	get, post := &methodSet{names: []string{"GET"}}, &methodSet{names: []string{"POST"}}
	notGet, notBoth := &methodSet{names: []string{"GET"}, except: true}, &methodSet{names: []string{"GET", "POST"}, except: true}
	for _, m := range []*methodSet{nil, get, post, notGet, notBoth} {
		for _, n := range []*methodSet{nil, get, post, notGet, notBoth} {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", ""} {
				require.Equal(t, m.covers(method) || n.covers(method), m.with(n).covers(method), "%v %v %s", m, n, method)
			}
		}
	}
}

func TestInDomain(t *testing.T) {
	for domain, want := range map[string]bool{
		"a.example.com": true, "A.Example.COM": true, "example.com": true, ".example.com": true, "com": true, "xample.com": false, ".a.example.com": false, "": false, "b.a.example.com": false,
	} {
		require.Equal(t, want, inDomain("a.example.com", domain), domain)
	}
}
