package apache

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAllProblemsAtOnce: whatever step finds a problem, all of it and of the
// others is told, by file and line.
func TestAllProblemsAtOnce(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		return file
	}
	write("other.conf", "ServerAlias x\nKeepAlive Maybe\n")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o777))
	file := write("site.conf", strings.TrimLeft(`
Listen 80
ErrorLog folder
CustomLog folder combined
Include other.conf
ProxyPas / http://b/
ProxyPass /c http://c/ max=x timeot=3 zzzzzzzzz=1 timeout=0
<Locaton /x>
ProxyPas / http://b/
</Locaton>
<Location x>
KeepAlive Maybe
</Location>
<Files a b>
ProxyPas / http://b/
</Files>
<Location "/open>
ProxyPreserveHost Maybe
</Location>
<Proxy balancer://b lbmethod=none growth=-1>
BalancerMember gopher://x/
</Proxy>
<Proxy balancer://fully>
BalancerMember http://fully/ loadfactr=3 rediret=x
</Proxy>
ProxyPass /b balancer://b/ maxattempts=x
ProxyPass /d/ balancer://fuly/
ProxyPass /e/ http://e
SSLProxyCACertificateFile none.pem
ProxyPass /f https://f/f
<VirtualHost *:80>
ErrorLog folder
<Location /y>
<RequireAll>
Require ip x
Require nonsense
</RequireAll>
</Location>
</Virtualhost
`, "\n"))
	_, err := Load(file, Options{})
	var all Problems
	require.ErrorAs(t, err, &all)
	var lines []string
	for _, p := range all {
		place := strings.TrimPrefix(p.Error(), dir+"/")
		lines = append(lines, p.Directive+" "+strings.ReplaceAll(place, dir, "DIR"))
		require.Equal(t, strings.Contains(p.Error(), ": warning: "), p.Severity == SeverityWarning)
	}
	require.Equal(t, []string{
		"ErrorLog site.conf:2: ErrorLog: open DIR/folder: is a directory",
		"CustomLog site.conf:3: CustomLog: open DIR/folder: is a directory",
		"ProxyPas site.conf:5: ProxyPas is not known; did you mean ProxyPass?",
		"ProxyPass site.conf:6: ProxyPass: max=x: want a number of at least 0",
		`ProxyPass site.conf:6: ProxyPass: parameter "timeot" is not known; did you mean timeout?`,
		`ProxyPass site.conf:6: ProxyPass: parameter "zzzzzzzzz" is not known`,
		"ProxyPass site.conf:6: ProxyPass: timeout=0: want a duration of at least 1s",
		"Locaton site.conf:7: <Locaton> is not known; did you mean <Location>?",
		"ProxyPas site.conf:8: ProxyPas is not known; did you mean ProxyPass?",
		`Location site.conf:10: path "x" does not begin with a slash`,
		"KeepAlive site.conf:11: KeepAlive may not stand here",
		"Files site.conf:13: Files: want one name",
		"ProxyPas site.conf:14: ProxyPas is not known; did you mean ProxyPass?",
		"Location site.conf:16: warning: quote is not closed",
		"ProxyPreserveHost site.conf:17: ProxyPreserveHost is On or Off",
		"Proxy site.conf:19: Proxy: lbmethod=none is not known: byrequests, bytraffic, bybusyness, heartbeat, random2, first, leasttime, hash are",
		"Proxy site.conf:19: Proxy: growth=-1: want a number from 0 to 100",
		`BalancerMember site.conf:20: BalancerMember: scheme "gopher" is not known`,
		`BalancerMember site.conf:23: BalancerMember: parameter "loadfactr" is not known; did you mean loadfactor?`,
		`BalancerMember site.conf:23: BalancerMember: parameter "rediret" is not known; did you mean redirect?`,
		"ProxyPass site.conf:25: ProxyPass: maxattempts=x: want a number",
		"ProxyPass site.conf:26: warning: balancer://fuly has no members: requests for it are answered with 503; did you mean balancer://fully?",
		"ProxyPass site.conf:27: warning: only one of /e/ and http://e ends in a slash: paths will be joined wrongly",
		"SSLProxyCACertificateFile site.conf:28: SSLProxyCACertificateFile: open DIR/none.pem: no such file or directory",
		"ErrorLog site.conf:31: ErrorLog: open DIR/folder: is a directory",
		`Require site.conf:34: Require: access: "x" is no address or network`,
		`Require site.conf:35: Require: "nonsense" is not known: all, ip, host, forward-dns, local, method, env, expr, valid-user, user and group are`,
		` site.conf:38: </Virtualhost has no closing ">"`,
		"ServerAlias other.conf:1: ServerAlias may not stand here",
		"KeepAlive other.conf:2: KeepAlive is On or Off",
	}, lines)
	require.Equal(t, len(all), len(strings.Split(err.Error(), "\n")))
	text, jsonErr := json.Marshal(Problem{File: "x.conf", Line: 3, Directive: "Foo", Message: "Foo is not known", Hint: "did you mean Fop?", Severity: SeverityError})
	require.NoError(t, jsonErr)
	require.JSONEq(t, `{"file": "x.conf", "line": 3, "directive": "Foo", "message": "Foo is not known", "hint": "did you mean Fop?", "severity": "error"}`, string(text))
	_, err = Load(file+".none", Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.False(t, errors.As(err, &all))
}
