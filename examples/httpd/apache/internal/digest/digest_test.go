package digest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

// answer is what a client makes of a challenge.
func answer(challenge, user, password, method, uri string) Credentials {
	c, _ := Parse("Digest username=\"" + user + "\", uri=\"" + uri + "\", response=x, cnonce=\"abc\", nc=00000001, " + strings.TrimPrefix(challenge, "Digest "))
	if c.QOP == "" {
		c.CNonce, c.NC = "", ""
	}
	c.Response = response(c, password, method)
	return c
}

func response(c Credentials, password, method string) string {
	middle := c.Nonce
	if c.QOP != "" {
		middle += ":" + c.NC + ":" + c.CNonce + ":" + c.QOP
	}
	return sum(sum(c.Username+":"+c.Realm+":"+password) + ":" + middle + ":" + sum(method+":"+c.URI))
}

func newDigest() *Digest {
	d := New()
	d.Lookup = func(user, realm string) (string, error) {
		if user == "ann" && realm == `a "realm"` {
			return sum(user + ":" + realm + ":secret"), nil
		}
		return "", nil
	}
	return d
}

func TestCheck(t *testing.T) {
	const realm = `a "realm"`
	d, other, old := newDigest(), newDigest(), newDigest()
	old.NoQOP = true
	right := func() Credentials { return answer(d.Challenge(realm, false), "ann", "secret", "GET", "/x?y") }
	check := func(d *Digest, c Credentials) Result {
		got, err := d.Check(c, realm, "GET", "/x?y")
		require.NoError(t, err)
		return got
	}
	require.Equal(t, Good, check(d, right()))
	require.Equal(t, Good, check(old, answer(old.Challenge(realm, false), "ann", "secret", "GET", "/x?y")))
	for name, c := range map[string]Credentials{
		"password":        answer(d.Challenge(realm, false), "ann", "Secret", "GET", "/x?y"),
		"user":            answer(d.Challenge(realm, false), "bob", "secret", "GET", "/x?y"),
		"nobody's digest": answer(d.Challenge(realm, false), "", "", "GET", "/x?y"),
		"method":          answer(d.Challenge(realm, false), "ann", "secret", "PUT", "/x?y"),
		"target":          answer(d.Challenge(realm, false), "ann", "secret", "GET", "/x"),
		"no qop":          answer(old.Challenge(realm, false), "ann", "secret", "GET", "/x?y"),
	} {
		require.Equal(t, Refused, check(d, c), name)
	}
	for name, change := range map[string]func(c *Credentials){
		"algorithm": func(c *Credentials) { c.Algorithm = "SHA-256" },
		"qop":       func(c *Credentials) { c.QOP = "auth-int" },
		"no count":  func(c *Credentials) { c.NC = "" },
		"no cnonce": func(c *Credentials) { c.CNonce = "" },
		"realm":     func(c *Credentials) { c.Realm = "x" },
	} {
		c := right()
		change(&c)
		c.Response = response(c, "secret", "GET")
		require.Equal(t, Refused, check(d, c), name)
	}
	require.Equal(t, Refused, check(old, right()), "a qop that was not asked for")

	// The right password for another nonce is not let in, but need not be asked for.
	elsewhere := right()
	elsewhere.Nonce = "A" + elsewhere.Nonce[1:]
	elsewhere.Response = response(elsewhere, "secret", "GET")
	foreign := answer(d.Challenge("other", false), "ann", "secret", "GET", "/x?y")
	foreign.Realm = realm
	foreign.Response = response(foreign, "secret", "GET")
	for _, c := range []Credentials{elsewhere, foreign, answer(other.Challenge(realm, false), "ann", "secret", "GET", "/x?y")} {
		require.Equal(t, Stale, check(d, c))
		c.Response = response(c, "guess", "GET")
		require.Equal(t, Refused, check(d, c))
	}
}

func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDigest()
		c := answer(d.Challenge(`a "realm"`, false), "ann", "secret", "GET", "/")
		for _, step := range []struct {
			after, lifetime time.Duration
			want            Result
		}{{5 * time.Minute, 0, Good}, {time.Second, 0, Stale}, {0, -1, Good}, {0, time.Hour, Good}} {
			time.Sleep(step.after)
			d.Lifetime = step.lifetime
			got, err := d.Check(c, `a "realm"`, "GET", "/")
			require.NoError(t, err)
			require.Equal(t, step.want, got)
		}
		d.Domain = []string{"/a", "/b"}
		require.Contains(t, d.Challenge("r", true), `, algorithm=MD5, domain="/a /b", stale=true, qop="auth"`)
	})
}

func TestParse(t *testing.T) {
	c, ok := Parse(`digest  username="a\"b" ,realm="r, s",nonce=n,uri="/x", response="0f", opaque="o", qop=auth, nc=00000001, cnonce=""`)
	require.True(t, ok)
	require.Equal(t, Credentials{Username: `a"b`, Realm: "r, s", Nonce: "n", URI: "/x", Response: "0f", QOP: "auth", NC: "00000001"}, c)
	const all = `Digest username=u, realm=r, nonce=n, uri="/", response=0`
	_, ok = Parse(all)
	require.True(t, ok)
	for _, s := range []string{
		"", "Digest", "Basic x", all + ", username=v", all + `, x="y`, all + `, x="y" z`, all + ", x", all + ", =x", all + ", x=", all + `, x=a"b`, all + ", x=a b",
		"Digest username=u, realm=r, nonce=n, response=0", all + ", x=" + strings.Repeat("y", maxField),
	} {
		_, ok := Parse(s)
		require.False(t, ok, s)
	}
}

func TestReadUsers(t *testing.T) {
	users, err := ReadUsers("# users\nann:r:0123456789abcdef0123456789ABCDEF\r\n\nann:s:00000000000000000000000000000000")
	require.NoError(t, err)
	require.Equal(t, "0123456789abcdef0123456789abcdef", users[[2]string{"ann", "r"}])
	for text, want := range map[string]string{
		"ann:r":          "line 1 is not user:realm:digest",
		"\n:r:00":        "line 2 is not user:realm:digest",
		"ann:r:0123":     "line 1: the digest is malformed",
		"ann:r:$apr1$xx": "line 1: the digest is malformed",
	} {
		_, err := ReadUsers(text)
		require.ErrorContains(t, err, want)
	}
}

func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	for name, text := range map[string]func(n int) string{
		"parameters":  func(n int) string { return "Digest " + strings.Repeat("a=b,", n/4) },
		"commas":      func(n int) string { return "Digest " + strings.Repeat(",", n) },
		"backslashes": func(n int) string { return `Digest a="` + strings.Repeat(`\"`, n/2) },
		"equals":      func(n int) string { return "Digest " + strings.Repeat("=", n) },
	} {
		inputs[name] = func(n int) func() {
			s := text(min(n, maxField))
			return func() { Parse(s) }
		}
	}
	inputs["a file"] = func(n int) func() {
		s := strings.Repeat("a:b:00000000000000000000000000000000\n", n/37)
		return func() { _, _ = ReadUsers(s) }
	}
	parsertest.Linear(t, inputs)
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`Digest username="a\"b", realm=r, nonce=n, uri="/", response=0, qop=auth`, "Digest =", `Digest a="\`, "digest a=b,,", "Basic x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := Parse(s)
		if again, okAgain := Parse(s); c != again || ok != okAgain {
			t.Fatal("not the same twice")
		}
		if ok && !strings.EqualFold(s[:len("Digest ")], "Digest ") {
			t.Fatal("another scheme")
		}
	})
}
