package apache

import (
	"crypto/md5"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

func hexMD5(s string) string {
	b := md5.Sum([]byte(s))
	return hex.EncodeToString(b[:])
}

// TestDigest: AuthType Digest lets in who answers its challenge, and the backend and
// the sections know who that is.
func TestDigest(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	require.NoError(t, os.WriteFile(users, []byte("carl:area:"+hexMD5("carl:area:secret")+"\nann:area:"+hexMD5("ann:area:secret")+"\n"), 0o600))
	p := start(t, `ProxyPass / http://backend.test/
<Location />
	AuthType Digest
	AuthName area
	AuthDigestProvider file
	AuthDigestDomain / /x
	AuthDigestAlgorithm MD5
	AuthUserFile `+users+`
	Require user carl
	Header set X-User "expr=%{REMOTE_USER} %{AUTH_TYPE}"
</Location>
<Location /old>
	AuthDigestQop none
	AuthDigestNonceLifetime -1
</Location>
<Location /forbidden>
	AuthzSendForbiddenOnFailure On
</Location>
<Location /file>
	AuthUserFile /nowhere
</Location>
`, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	nonce := regexp.MustCompile(`nonce="([^"]*)"`)
	for _, tc := range []struct {
		path, user, password, uri string
		code                      int
	}{
		{"/x?y=%20", "carl", "secret", "", 200},
		{"/x", "carl", "guess", "", 401},
		{"/x", "ann", "secret", "", 401},
		{"/x", "nobody", "secret", "", 401},
		{"/x", "carl", "secret", "/y", 401},
		{"/old/x", "carl", "secret", "", 200},
		{"/old/x", "carl", "guess", "", 401},
		{"/forbidden", "ann", "secret", "", 403},
		{"/file", "carl", "secret", "", 500},
	} {
		resp, _ := p.get("80", "x.test"+tc.path)
		require.Equal(t, 401, resp.StatusCode)
		challenge := resp.Header.Get("Www-Authenticate")
		require.Regexp(t, `^Digest realm="area", nonce="[^"]+", algorithm=MD5, domain="/ /x"`, challenge)
		if tc.uri == "" {
			tc.uri = tc.path
		}
		middle, more := nonce.FindStringSubmatch(challenge)[1], ""
		field := `Digest username="` + tc.user + `", realm="area", nonce="` + middle + `", uri="` + tc.uri + `", `
		if tc.path != "/old/x" {
			middle, more = middle+":00000001:c:auth", `qop=auth, nc=00000001, cnonce="c", `
		}
		field += more + `response="` + hexMD5(hexMD5(tc.user+":area:"+tc.password)+":"+middle+":"+hexMD5("GET:"+tc.uri)) + `"`
		resp, _ = p.get("80", "x.test"+tc.path, func(r *http.Request) { r.Header.Set("Authorization", field) })
		require.Equal(t, tc.code, resp.StatusCode, "%v", tc)
		if tc.code == 200 {
			require.Equal(t, "carl Digest", resp.Header.Get("X-User"))
		}
		require.NotContains(t, resp.Header.Get("Www-Authenticate"), "stale")
	}
	require.NoError(t, os.WriteFile(users, []byte("carl:$apr1$x\n"), 0o600))
	require.Eventually(t, func() bool {
		resp, _ := p.get("80", "x.test/x", func(r *http.Request) {
			r.Header.Set("Authorization", `Digest username="carl", realm="area", nonce="", uri="/x", response="", qop=auth`)
		})
		return resp.StatusCode == 500
	}, 20*time.Second, 20*time.Millisecond, "a file that is malformed decides nothing")
	for config, want := range map[string]string{
		"AuthDigestQop auth-int":       "x.conf:2: AuthDigestQop: want auth or none",
		"AuthDigestAlgorithm MD5-sess": "x.conf:2: AuthDigestAlgorithm: MD5-sess is not supported: MD5 is",
		"AuthDigestNonceLifetime 0":    `x.conf:2: AuthDigestNonceLifetime: "0" is no number of seconds`,
		"AuthDigestProvider dbm":       "x.conf:2: AuthDigestProvider: provider dbm is not supported: it belongs to mod_authn_dbm",
	} {
		_, _, err := read("<Location />\n" + config + "\n</Location>\nListen 80\n")
		require.ErrorContains(t, err, want, config)
	}
}

// TestDigestOfCurl: a client that somebody else has written gets in.
func TestDigestOfCurl(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	require.NoError(t, os.WriteFile(users, []byte("carl:the \"area\":"+hexMD5(`carl:the "area":secret`)+"\n"), 0o600))
	for _, qop := range []string{"auth", "none"} {
		p := start(t, "ProxyPass / http://backend.test/\n<Location />\nAuthType Digest\nAuthName \"the \\\"area\\\"\"\nAuthDigestQop "+qop+"\nAuthUserFile "+users+"\nRequire valid-user\n</Location>\n", echo)
		for password, want := range map[string]string{"secret": "200", "guess": "401"} {
			got := programs.Curl(t, "--digest", "-u", "carl:"+password, "-o", "/dev/null", "-w", "%{http_code}", "http://"+p.server.addresses()["80"]+"/x%20y?a=b")
			require.Equal(t, want, got.Out, qop)
		}
		p.stop()
	}
}
