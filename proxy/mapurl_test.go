package proxy

import (
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

func TestMapURL(t *testing.T) {
	prefix, err := NewHandler("/app/", "http://b.test/x/")
	require.NoError(t, err)
	match, err := NewMatchHandler(`^/img/(.*)$`, "http://b.test/pictures/$1")
	require.NoError(t, err)
	all := &Handler{Rewrite: func(*httputil.ProxyRequest) {}}
	for _, tc := range []struct {
		h        *Handler
		in, want string // "" is not taken
	}{
		{prefix, "/app/y?q=1", "http://b.test/x/y?q=1"},
		{prefix, "/app/../z", ""},
		{prefix, "/other", ""},
		{match, "/img/a%20b", "http://b.test/pictures/a%20b"},
		{match, "/x", ""},
		{all, "/any", "/any"},
	} {
		u, err := url.Parse(tc.in)
		require.NoError(t, err)
		out, ok, err := tc.h.MapURL(u)
		require.NoError(t, err)
		require.Equal(t, tc.want != "", ok, tc.in)
		require.Equal(t, ok, tc.h.Takes(u), tc.in)
		if ok {
			require.Equal(t, tc.want, out.String())
		}
		require.Equal(t, tc.in, u.String(), "the request's URL is left alone")
	}
	_, _, err = prefix.MapURL(&url.URL{Path: "/../app/x"})
	require.Equal(t, 400, exchange.StatusOf(err))
	require.False(t, prefix.Takes(&url.URL{Path: "/../app/x"}))
	broken := &Handler{}
	require.False(t, broken.Takes(&url.URL{Path: "/"}))
	_, _, err = broken.MapURL(&url.URL{Path: "/"})
	require.Equal(t, 500, exchange.StatusOf(err))
}
