package access

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

func readUsers(t testing.TB) *Htpasswd {
	f, err := os.Open("testdata/htpasswd")
	require.NoError(t, err)
	defer f.Close()
	h, err := ReadHtpasswd(f)
	require.NoError(t, err)
	return h
}

func TestHtpasswd(t *testing.T) {
	h := readUsers(t)
	require.Equal(t, 4, h.Len())
	for _, tc := range []struct {
		user, password string
		ok             bool
	}{
		{"alice", "open sesame", true},
		{"alice", "open sesame ", false},
		{"alice", "", false},
		{"bob", "päss:word", true},
		{"bob", "open sesame", false},
		{"carl", "", true},
		{"carl", "x", false},
		{"dora", strings.Repeat("x", 100), true},
		{"dora", strings.Repeat("x", 99), false},
		{"nobody", "open sesame", false},
		{"", "", false},
	} {
		ok, err := h.Verify(context.Background(), tc.user, tc.password)
		require.NoError(t, err)
		require.Equal(t, tc.ok, ok, "%s %s", tc.user, tc.password)
	}
	sha, err := ReadHtpasswd(strings.NewReader("eve:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=")) // htpasswd -nbs eve secret
	require.NoError(t, err)
	for _, password := range []string{"secret", "Secret", ""} {
		ok, err := sha.Verify(t.Context(), "eve", password)
		require.NoError(t, err)
		require.Equal(t, password == "secret", ok, password)
	}
	empty, err := ReadHtpasswd(strings.NewReader(""))
	require.NoError(t, err)
	ok, _ := empty.Verify(context.Background(), "", "")
	require.False(t, ok)
}

func TestHtpasswdRefused(t *testing.T) {
	const hash = "$2y$05$4/iI97VcNWO9rTLBAOmmX.APUi0dEDnTd1q51PVeHQFK9kGZ44j8q"
	for text, want := range map[string]string{
		"a":                          "line 1 is not user:hash",
		":x":                         "line 1 is not user:hash",
		"\n#\na:plain":               "line 3: the hash is neither",
		"eve:{SHA}2PRZAyDhNDqRW2OUF": "line 1: the hash is malformed",
		"a:" + hash + "\na:" + hash:  "line 2: the user has a line already",
		"a:" + hash + "0":            "line 1: the hash is malformed",
		"a:" + strings.Replace(hash, "$05$", "$18$", 1):  "bcrypt's cost is above 17",
		"a:$apr1$kz54JrLO9$XXosihQgno5wgOQ1/YHGR.":       "line 1: the hash is malformed",
		"a:$apr1$kz54JrLO$XXosihQgno5wgOQ1/YHGR":         "line 1: the hash is malformed",
		"a:$apr1$kz54JrLO$XXosihQgno5wgOQ1/YHGR!":        "line 1: the hash is malformed",
		"a:realm:5f4dcc3b5aa765d61d8327deb882cf99":       "line 1: the hash is neither",
		"a:" + hash + "\n" + strings.Repeat("x", 70_000): "token too long",
		"a\x01b:" + hash:                                  "line 1 is not user:hash",
		"\ufeffa:" + hash:                                 "line 1 begins with a byte order mark",
		"\ufeff# comment\na:" + hash:                      "line 1 begins with a byte order mark",
		"\xff\xfea\x00:\x00":                              "line 1 is not user:hash",
		"a:" + hash + "\n  :" + hash:                      "line 2 is not user:hash",
		"a\x00:" + hash:                                   "line 1 is not user:hash",
		"a:" + hash + "\x00":                              "line 1: the hash is malformed",
		"a:" + hash + "\rb:" + hash:                       "line 1: the hash is malformed",
		"a:" + hash + ":A Name":                           "line 1: the hash is malformed",
		strings.Repeat("u", 1024) + ":" + hash:            "line 1 is not user:hash",
		"a:":                                              "line 1: the hash is neither",
		"a:$apr1$":                                        "line 1: the hash is malformed",
		"a:$apr1$$XXosihQgno5wgOQ1/YHGR.":                 "line 1: the hash is malformed",
		"a:$apr1$kz 4JrLO$XXosihQgno5wgOQ1/YHGR.":         "line 1: the hash is malformed",
		"a:$apr1$kz54JrLO$XXosihQgno5wgOQ1/YHGRz":         "line 1: the hash is malformed",
		"a:$1$kz54JrLO$XXosihQgno5wgOQ1/YHGR.":            "line 1: the hash is neither",
		"a:$5$salt$x":                                     "line 1: the hash is neither",
		"a:{SHA}2PRZAyDhNDqRW2OUFwZQqPNdaNZ=":             "line 1: the hash is malformed", // bits too many
		"a:{SSHA}2PRZAyDhNDqRW2OUFwZQqPNdaNY=":            "line 1: the hash is neither",
		"a:rqXexS6ZhobKA":                                 "line 1: the hash is neither",
		"a:" + strings.Replace(hash, "$2y", "$2", 1):      "line 1: the hash is neither",
		"a:" + strings.Replace(hash, "$2y", "$2x", 1):     "line 1: the hash is neither",
		"a:" + strings.Replace(hash, "$2y", "$2Y", 1):     "line 1: the hash is neither",
		"a:" + strings.Replace(hash, "$2y", "$3y", 1):     "line 1: the hash is neither",
		"a:" + strings.Replace(hash, "$05$", "$03$", 1):   "bcrypt's cost is below 4",
		"a:" + strings.Replace(hash, "$05$", "$+5$", 1):   "line 1: the hash is malformed",
		"a:" + strings.Replace(hash, "$05$", "$05.", 1):   "line 1: the hash is malformed",
		"a:" + strings.Replace(hash, "$05$4", "$05$+", 1): "line 1: the hash is malformed",
		"a:" + hash[:59] + "=":                            "line 1: the hash is malformed",
		"a:" + hash[:59] + "r":                            "line 1: the hash is malformed", // two bits too many
		"a:" + hash[:40] + "!" + hash[41:]:                "line 1: the hash is malformed",
		"\n\n" + strings.Repeat("x", 70_000):              "line 3: bufio.Scanner: token too long",
	} {
		_, err := ReadHtpasswd(strings.NewReader(text))
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "$", "no hash in the error")
	}
}

// TestHtpasswdEachUserCosts: whoever the user is, and whether there is one, a
// password is checked against one hash of each kind and cost.
func TestHtpasswdEachUserCosts(t *testing.T) {
	text := "sha:{SHA}2PRZAyDhNDqRW2OUFwZQqPNdaNY=\nold:$apr1$kz54JrLO$XXosihQgno5wgOQ1/YHGR.\nolder:$apr1$NVI4ZKEl$0TDxYdGXHHSM4FA7IRCsk1\r\n"
	for user, cost := range map[string]int{"a": 4, "b": 5, "c": 5, "d": 6} {
		hash, err := bcrypt.GenerateFromPassword([]byte(user), cost)
		require.NoError(t, err)
		text += user + ":" + string(hash) + "\n"
	}
	h, err := ReadHtpasswd(strings.NewReader(text))
	require.NoError(t, err)
	for _, user := range []string{"sha", "old", "older", "a", "b", "c", "d", "nobody", ""} {
		var kinds []string
		work := h.table.work(user)
		for _, hash := range work {
			kind, err := hashKind(hash)
			require.NoError(t, err)
			kinds = append(kinds, kind)
		}
		require.ElementsMatch(t, []string{shaPrefix, apr1Prefix, "04", "05", "06"}, kinds, user)
		if own, ok := h.table.hashes[user]; ok {
			require.Contains(t, work, own)
		}
		for _, password := range []string{"a", "b", "c", "d"} {
			ok, err := h.Verify(t.Context(), user, password)
			require.NoError(t, err)
			require.Equal(t, user == password, ok, "%s %s", user, password)
		}
	}
}

// FuzzHtpasswd: what is read can be asked for, and lets nobody in by chance.
func FuzzHtpasswd(f *testing.F) {
	text, err := os.ReadFile("testdata/htpasswd")
	require.NoError(f, err)
	f.Add(string(text), "alice")
	f.Add("a:$apr1$x$0TDxYdGXHHSM4FA7IRCsk1\r\n", "a")
	f.Add("a:$2y$05$", "a")
	f.Add("a:{SHA}x\n:", "a")
	f.Fuzz(func(t *testing.T, text, user string) {
		h, err := ReadHtpasswd(strings.NewReader(text))
		if err != nil {
			require.Nil(t, h)
			return
		}
		for _, hash := range h.table.hashes {
			if kind, err := hashKind(hash); err != nil || kind != apr1Prefix && kind != shaPrefix && kind > "06" {
				return // it would take too long
			}
		}
		ok, err := h.Verify(context.Background(), user, "a password that nobody has")
		require.NoError(t, err)
		require.False(t, ok)
	})
}
