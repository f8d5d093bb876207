package rfc9111

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRFC9111_4_4_WhatInvalidates(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
		want   bool
	}{
		{"POST", 200, true}, {"PUT", 204, true}, {"DELETE", 200, true}, {"PATCH", 200, true}, {"M-SEARCH", 200, true}, {"get", 200, true},
		{"POST", 303, true}, {"POST", 399, true}, {"POST", 400, false}, {"POST", 404, false}, {"POST", 500, false}, {"POST", 101, false},
		{"GET", 200, false}, {"HEAD", 200, false}, {"OPTIONS", 200, false}, {"TRACE", 200, false}, {"QUERY", 200, false},
	} {
		require.Equal(t, c.want, Invalidates(c.method, c.status), "%s %d", c.method, c.status)
	}
}

func TestRFC9111_4_4_LocationAndContentLocation(t *testing.T) {
	target, err := url.Parse("http://example.org/dir/a?q")
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		line string
		want string
	}{
		{"absolute", "Location: http://example.org/b", "http://example.org/b"},
		{"path", "Content-Location: /b?c", "http://example.org/b?c"},
		{"relative", "Location: b", "http://example.org/dir/b"},
		{"itself", "Content-Location: ", "http://example.org/dir/a?q"},
		{"default port", "Location: http://example.org:80/b", "http://example.org:80/b"},
		{"case of the host", "Location: HTTP://EXAMPLE.org/b", "http://EXAMPLE.org/b"},
		{"fragment", "Location: /b#c", "http://example.org/b"},
		{"another host", "Location: http://example.com/b", ""},
		{"another host by scheme", "Location: //example.com/b", ""},
		{"another port", "Location: http://example.org:81/b", ""},
		{"another scheme", "Location: https://example.org/b", ""},
		{"no URI", "Location: http://[::1/b", ""},
		{"neither", "Refresh: /b", ""},
	} {
		var got string
		if uris := AlsoInvalidated(target, fields(c.line)); len(uris) > 0 {
			got = uris[0].String()
		}
		require.Equal(t, c.want, got, c.name)
	}
	require.Len(t, AlsoInvalidated(target, fields("Location: /b", "Content-Location: /c")), 2)
}
