package exchange

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/backend"
)

func TestBackendsAreOneForEachHost(t *testing.T) {
	var s Backends
	t.Cleanup(s.Retire)
	one, _, err := s.For(&url.URL{Scheme: "ajp", Host: "a:1", Path: "/x"}, nil, nil, "ajp")
	require.NoError(t, err)
	require.Equal(t, "ajp://a:1", one.String())
	same, _, err := s.For(&url.URL{Scheme: "ajp", Host: "a:1"}, nil, nil, "ajp")
	require.NoError(t, err)
	require.Same(t, one, same)
	other, _, err := s.For(&url.URL{Scheme: "ajp", Host: "b"}, nil, func(u *url.URL) *backend.Backend {
		return &backend.Backend{URL: u, MaxConns: 7}
	}, "ajp")
	require.NoError(t, err)
	require.Equal(t, 7, other.MaxConns)
	all, _, err := s.For(&url.URL{Scheme: "ajp", Host: "c"}, one, nil, "ajp")
	require.NoError(t, err)
	require.Same(t, one, all)

	_, _, err = s.For(&url.URL{Scheme: "http", Host: "a"}, one, nil, "ajp")
	require.Equal(t, http.StatusInternalServerError, StatusOf(err))
	for _, u := range []*url.URL{nil, {Scheme: "ajp"}} {
		_, _, err = s.For(u, nil, nil, "ajp")
		require.Equal(t, http.StatusBadRequest, StatusOf(err))
	}
}

func TestBackendsForgetTheUnused(t *testing.T) {
	var s Backends
	t.Cleanup(s.Retire)
	for i := range 4 * fewOrigins {
		_, _, err := s.For(&url.URL{Scheme: "ajp", Host: fmt.Sprintf("h%d", i)}, nil, nil, "ajp")
		require.NoError(t, err)
	}
	require.LessOrEqual(t, len(s.own), fewOrigins)
}

// TestBackendsRemember those that are known to be down, or that somebody has
// set a flag of.
func TestBackendsRemember(t *testing.T) {
	var s Backends
	t.Cleanup(s.Retire)
	find := func(host string) *backend.Backend {
		b, _, err := s.For(&url.URL{Scheme: "ajp", Host: host}, nil, func(u *url.URL) *backend.Backend {
			return &backend.Backend{URL: u, Retry: time.Minute}
		}, "ajp")
		require.NoError(t, err)
		return b
	}
	down, drained, idle := find("down"), find("drained"), find("idle")
	down.MarkError(errors.New("refused"))
	drained.SetFlags(backend.Disabled, 0)
	for i := range 2 * fewOrigins {
		find(fmt.Sprint("host", i))
	}
	require.True(t, down == find("down"))
	require.True(t, drained == find("drained"))
	require.False(t, idle == find("idle"))
}
