package ftpproxy

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return u
}

// TestBackslashDots: servers on Windows take a backslash for a slash.
func TestBackslashDots(t *testing.T) {
	for _, path := range []string{"..%5Csecret", "a%5C..%5C..%5Csecret", "a%5C..", "..%5C/x", ".%5Cx"} {
		_, err := parseTarget(mustURL(t, "ftp://h/pub/"+path))
		require.NotNil(t, err, path)
		require.Equal(t, 400, err.Status, path)
	}
	_, err := parseTarget(mustURL(t, "ftp://h/pub/a%5C..b"))
	require.Nil(t, err)
}
