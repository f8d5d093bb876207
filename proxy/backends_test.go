package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
)

func TestBackendsAreOneForEachHost(t *testing.T) {
	var s Backends
	t.Cleanup(s.Retire)
	one, err := s.For(&url.URL{Scheme: "ajp", Host: "a:1", Path: "/x"}, nil, nil, "ajp")
	require.NoError(t, err)
	require.Equal(t, "ajp://a:1", one.String())
	same, err := s.For(&url.URL{Scheme: "ajp", Host: "a:1"}, nil, nil, "ajp")
	require.NoError(t, err)
	require.Same(t, one, same)
	other, err := s.For(&url.URL{Scheme: "ajp", Host: "b"}, nil, func(u *url.URL) *backend.Backend {
		return &backend.Backend{URL: u, MaxConns: 7}
	}, "ajp")
	require.NoError(t, err)
	require.Equal(t, 7, other.MaxConns)
	all, err := s.For(&url.URL{Scheme: "ajp", Host: "c"}, one, nil, "ajp")
	require.NoError(t, err)
	require.Same(t, one, all)

	_, err = s.For(&url.URL{Scheme: "http", Host: "a"}, one, nil, "ajp")
	require.Equal(t, http.StatusInternalServerError, StatusOf(err))
	for _, u := range []*url.URL{nil, {Scheme: "ajp"}} {
		_, err = s.For(u, nil, nil, "ajp")
		require.Equal(t, http.StatusBadRequest, StatusOf(err))
	}
}

func TestBackendsForgetTheUnused(t *testing.T) {
	var s Backends
	t.Cleanup(s.Retire)
	for i := range 4 * fewOrigins {
		_, err := s.For(&url.URL{Scheme: "ajp", Host: fmt.Sprintf("h%d", i)}, nil, nil, "ajp")
		require.NoError(t, err)
	}
	require.LessOrEqual(t, len(s.own), fewOrigins)
}
