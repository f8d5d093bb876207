package balancer

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzSession: whatever a client sends, a session names a route that is in the
// request as it was sent, and only those of members are known.
func FuzzSession(f *testing.F) {
	f.Add("/x;sid=abc.rb/y", "sid=1.ra", "SID=abc.rb; ROUTEID=.ra", true)
	f.Add("/;sid=;sid=.", "&&sid", `SID="; SID==.ra"`, false)
	f.Fuzz(func(t *testing.T, path, query, cookie string, semicolon bool) {
		v := &view{routes: map[string][]*Member{"ra": {{}}, "rb": {{}}}}
		v.config.Sticky = Sticky{Cookie: "SID", Param: "sid", SemicolonDelimiter: semicolon, SetCookie: &RouteCookie{Name: "ROUTEID"}}
		r := &http.Request{URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{"Cookie": {cookie}}}
		s := v.session(r)
		require.Equal(t, s.known, v.routes[s.route] != nil)
		if s.route != "" {
			require.NotContains(t, s.route, ".")
			require.True(t, strings.Contains(r.URL.EscapedPath()+" "+query+" "+cookie, "."+s.route))
		}
	})
}
