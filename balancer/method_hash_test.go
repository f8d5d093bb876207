package balancer

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeysOfRequests(t *testing.T) {
	for _, tc := range []struct {
		name   string
		key    func(*http.Request) string
		url    string
		header http.Header
		want   string
	}{
		{"cookie", ByCookie("id"), "/", http.Header{"Cookie": {"x=1; id=a; id=b"}}, "a"},
		{"cookie in a second line", ByCookie("id"), "/", http.Header{"Cookie": {"x=1", "id=a"}}, "a"},
		{"quoted cookie", ByCookie("id"), "/", http.Header{"Cookie": {`id="a"`}}, "a"},
		{"another case is another cookie", ByCookie("id"), "/", http.Header{"Cookie": {"ID=a"}}, ""},
		{"end of a name is no name", ByCookie("id"), "/", http.Header{"Cookie": {"sid=a"}}, ""},
		{"no cookie", ByCookie("id"), "/", nil, ""},
		{"field", ByHeader("x-key"), "/", http.Header{"X-Key": {"a", "b"}}, "a"},
		{"no field", ByHeader("x-key"), "/", nil, ""},
		{"path", ByURL, "/a%2Fb/c", nil, "/a%2Fb/c"},
		{"path and query", ByURL, "/a?b=%20&c", nil, "/a?b=%20&c"},
		{"host is no part of it", ByURL, "http://example.org/a", nil, "/a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := get(t, tc.url)
			r.Header = tc.header
			require.Equal(t, tc.want, tc.key(r))
		})
	}
}

func TestClientAddr(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[2001:db8::1]:80": "2001:db8::1", "[fe80::1%eth0]:80": "fe80::1",
		"[::ffff:192.0.2.1]:80": "192.0.2.1", "name:80": "name", "@": "@", "": "",
	} {
		require.Equal(t, want, ClientAddr(&http.Request{RemoteAddr: remote}), remote)
	}
}

// TestHashByKey: requests alike in their key go to one member, others are spread.
func TestHashByKey(t *testing.T) {
	for name, key := range map[string]func(*http.Request) string{"cookie": ByCookie("id"), "URL": ByURL} {
		t.Run(name, func(t *testing.T) {
			_, list := fakes(4)
			b := newTest(t, Config{Method: &Hash{Key: key}}, list...)
			seen := make(map[string]bool)
			for n := range 100 {
				value := string(rune('A' + n%50))
				r := get(t, "balancer://x/"+value)
				r.Header.Set("Cookie", "id="+value)
				m, err := b.Choose(r)
				require.NoError(t, err)
				again, err := b.Choose(r)
				require.NoError(t, err)
				require.Same(t, m, again)
				seen[m.Name()] = true
			}
			require.Len(t, seen, 4)
		})
	}
}
