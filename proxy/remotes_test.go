package proxy_test

import (
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/access"
)

// No spelling of a URL goes past the other proxy that is for it.
func TestRemotesAndSpellings(t *testing.T) {
	for name, remote := range map[string]access.Remote{
		"Match":   {Match: "http://www.example.com/"},
		"Pattern": {Pattern: regexp.MustCompile(`^http://www\.example\.com/`)},
	} {
		s := &access.Remotes{List: []access.Remote{remote}, NoProxy: []string{"inside.example.com"}}
		for text, want := range map[string]int{
			"http://www.example.com/":        0,
			"http://www.example.com/a?b":     0,
			"HTTP://WWW.example.COM/":        0,
			"http://www.example.com":         0,
			"http://www.example.com?x":       0,
			"http://www.example.com:80/":     0,
			"http://www.example.com:/":       0,
			"http://www.example.com:0080":    0,
			"http://www.example.com./":       0,
			"http://www.example.com.:80?x":   0,
			"http://user:pw@www.example.com": 0,
			"http://www.example.com#x":       0,
			"http://www.example.com:8080/":   -1,
			"https://www.example.com/":       -1,
			"http://www.example.com.evil/":   -1,
			"http://www.example.com@evil/":   -1,
			"http://evil/http://www.example": -1,
		} {
			u, err := url.Parse(text)
			require.NoError(t, err)
			require.Equal(t, want, s.For(t.Context(), u), "%s: %s", name, text)
		}
	}
	all := &access.Remotes{List: []access.Remote{{Match: "*"}}, NoProxy: []string{"inside.example.com", "10.0.0.0/8", "[fd00::]/8"}}
	for text, want := range map[string]int{
		"http://inside.example.com":       -1,
		"http://INSIDE.example.com.:80/":  -1,
		"http://u@inside.example.com/":    -1,
		"http://inside.example.com.evil/": 0,
		"http://10.1.2.3/":                -1,
		"http://11.1.2.3/":                0,
		"http://[::ffff:10.1.2.3]/":       -1,
	} {
		u, err := url.Parse(text)
		require.NoError(t, err)
		require.Equal(t, want, all.For(t.Context(), u), text)
	}
}
