package proxy

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestURLCredentials: credentials in a URL are sent as Authorization over each
// protocol, unless the request has one.
func TestURLCredentials(t *testing.T) {
	for protocol, start := range protocols {
		t.Run(protocol, func(t *testing.T) {
			u, b := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header()["X-Got"] = r.Header["Authorization"]
			}))
			tr := &Transport{Backend: b}
			t.Cleanup(tr.CloseIdleConnections)
			for _, tc := range []struct {
				user  *url.Userinfo
				given []string
				want  []string
			}{
				{nil, nil, nil},
				{url.UserPassword("a", "b"), nil, []string{"Basic YTpi"}},
				{url.UserPassword("a", "b"), []string{"Bearer x"}, []string{"Bearer x"}},
			} {
				at := *u
				at.User = tc.user
				r := &http.Request{Method: "GET", URL: &at, Header: http.Header{}}
				if tc.given != nil {
					r.Header["Authorization"] = tc.given
				}
				resp, err := tr.RoundTrip(r)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, tc.want, resp.Header["X-Got"])
			}
		})
	}
}
