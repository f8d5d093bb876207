package access

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
	require.True(t, strings.HasPrefix(h.table.slow, "$2y$05$"), "unknown users take as long as the slowest")
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
	empty, err := ReadHtpasswd(strings.NewReader(""))
	require.NoError(t, err)
	ok, _ := empty.Verify(context.Background(), "", "")
	require.False(t, ok)
}

func TestHtpasswdRefused(t *testing.T) {
	const bcrypt = "$2y$05$4/iI97VcNWO9rTLBAOmmX.APUi0dEDnTd1q51PVeHQFK9kGZ44j8q"
	for text, want := range map[string]string{
		"a":                             "line 1 is not user:hash",
		":x":                            "line 1 is not user:hash",
		"\n#\na:plain":                  "line 3: the hash is neither",
		"eve:{SHA}2PRZAyDhNDqRW2OUF":    "line 1: the hash is neither",
		"a:" + bcrypt + "\na:" + bcrypt: "line 2: the user has a line already",
		"a:" + bcrypt + "0":             "line 1: the hash is malformed",
		"a:" + strings.Replace(bcrypt, "$05$", "$18$", 1):  "bcrypt's cost is above 17",
		"a:$apr1$kz54JrLO9$XXosihQgno5wgOQ1/YHGR.":         "line 1: the hash is malformed",
		"a:$apr1$kz54JrLO$XXosihQgno5wgOQ1/YHGR":           "line 1: the hash is malformed",
		"a:$apr1$kz54JrLO$XXosihQgno5wgOQ1/YHGR!":          "line 1: the hash is malformed",
		"a:realm:5f4dcc3b5aa765d61d8327deb882cf99":         "line 1: the hash is neither",
		"a:" + bcrypt + "\n" + strings.Repeat("x", 70_000): "token too long",
		"a\x01b:" + bcrypt:                                 "line 1 is not user:hash",
	} {
		_, err := ReadHtpasswd(strings.NewReader(text))
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "$", "no hash in the error")
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
			if cost, err := hashCost(hash); err != nil || cost > 6 {
				return // it would take too long
			}
		}
		ok, err := h.Verify(context.Background(), user, "a password that nobody has")
		require.NoError(t, err)
		require.False(t, ok)
	})
}
