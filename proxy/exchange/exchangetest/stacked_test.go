package exchangetest

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/buffer"
)

// closingIdle is a RoundTripper whose connections are those of another.
type closingIdle struct {
	http.RoundTripper
	tr *proxy.Transport
}

func (c closingIdle) CloseIdleConnections() { c.tr.CloseIdleConnections() }

// TestStacked: what stands between a caller and a transport keeps what that
// promises.
func TestStacked(t *testing.T) {
	for name, stack := range map[string]func(*testing.T, *proxy.Transport) http.RoundTripper{
		"balancer":               func(t *testing.T, tr *proxy.Transport) http.RoundTripper { return balanced(t, tr) },
		"balancer in a balancer": func(t *testing.T, tr *proxy.Transport) http.RoundTripper { return balanced(t, balanced(t, tr)) },
		"buffer":                 func(_ *testing.T, tr *proxy.Transport) http.RoundTripper { return &buffer.Transport{Next: tr} },
		"buffer of files": func(t *testing.T, tr *proxy.Transport) http.RoundTripper {
			return &buffer.Transport{Next: tr, Memory: -1, Dir: t.TempDir()}
		},
		"buffer of little": func(_ *testing.T, tr *proxy.Transport) http.RoundTripper {
			return &buffer.Transport{Next: tr, Max: 1000}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := http1()
			p.names = "balancer://b"
			p.Transport = func(b *backend.Backend) http.RoundTripper {
				tr := &proxy.Transport{Backend: b}
				return closingIdle{stack(t, tr), tr}
			}
			TestTransport(t, p)
		})
	}
}

func balanced(t *testing.T, rt http.RoundTripper) http.RoundTripper {
	b, err := balancer.New(balancer.Config{Name: "b"}, balancer.MemberConfig{URL: "http://backend.test", RoundTripper: rt})
	require.NoError(t, err)
	return b
}
