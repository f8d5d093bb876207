package graceful_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/cache/disk"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/tiered"
	"github.com/modproxy/modproxy/connect"
	"github.com/modproxy/modproxy/fcgi"
	"github.com/modproxy/modproxy/ftpproxy"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/breaker"
	"github.com/modproxy/modproxy/proxy/graceful"
	"github.com/modproxy/modproxy/proxy/mirror"
	"github.com/modproxy/modproxy/proxy/tunnel"
	"github.com/modproxy/modproxy/wstunnel"
)

// TestParts: whatever of this library has something to stop is a part.
func TestParts(t *testing.T) {
	members, err := balancer.New(balancer.Config{}, balancer.URLs("http://127.0.0.1:1")...)
	require.NoError(t, err)
	origin, err := backend.Parse("http://127.0.0.1:1")
	require.NoError(t, err)
	php, err := fcgi.NewHandler(t.TempDir(), "fcgi://127.0.0.1:1")
	require.NoError(t, err)
	chat, err := wstunnel.NewHandler("/", "ws://127.0.0.1:1/")
	require.NoError(t, err)
	c := &cache.Cache{}
	files := &disk.Store{Root: t.TempDir()}
	_, err = files.Get(t.Context(), "key") // begins its work
	require.NoError(t, err)
	for _, part := range []any{
		&http.Server{}, httptest.NewServer(nil), &http.Transport{}, http.DefaultClient, &ajp.Server{},
		&proxy.Handler{}, &proxy.Forward{}, php, chat, &connect.Handler{}, &tunnel.Registry{},
		c, c.Transport(&proxy.Transport{}), &memory.Store{}, &tiered.Store{Front: &memory.Store{}, Back: files}, files,
		members, origin, &mirror.Transport{}, &breaker.Transport{},
		&proxy.Transport{}, &fcgi.Transport{}, &ajp.Transport{}, &ftpproxy.Transport{}, &connect.Transport{}, &wstunnel.Transport{},
	} {
		require.NoError(t, (&graceful.Service{Parts: []any{part}}).Shutdown(t.Context()), "%T", part)
	}
}
