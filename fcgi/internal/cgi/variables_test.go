package cgi

import (
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRequestURI: REQUEST_URI is the target that the client has written, wherever
// its request is led in the meantime.
func TestRequestURI(t *testing.T) {
	for target, want := range map[string]string{
		"/a%20b//c?q=1":               "/a%20b//c?q=1",
		"/a?":                         "/a?",
		"http://name.test/a%2fb?q":    "/a%2fb?q",
		"http://name.test":            "/",
		"http://name.test?q":          "/?q",
		"HTTPS://user@name.test:81/x": "/x",
		"*":                           "*",
		"":                            "/srv/disk/file",
	} {
		r := httptest.NewRequest("GET", "http://name.test/", nil)
		r.RequestURI = target
		r.URL = &url.URL{Path: "/srv/disk/file"}
		p := new(Params)
		new(Gateway).AddTo(p, r, r, 0)
		require.Equal(t, want, p.Get("REQUEST_URI"), target)
	}
}
