package cache

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// TestUserOfARequest: what an application answers to a client that was verified in
// front of the cache, by whatever means, is for nobody else unless it says so:
// neither stored, nor for those who ask at the same time, nor brought up to date by
// it. The user of a forward proxy makes no difference.
func TestUserOfARequest(t *testing.T) {
	for control, shared := range map[string]bool{"max-age=60": false, "max-age=1, stale-while-revalidate=60": false, "public, max-age=60": true, "s-maxage=60": true} {
		for name, front := range map[string]func(next roundTripper) http.Handler{
			"Cache, Handler": func(next roundTripper) http.Handler {
				return (&Cache{}).Wrap(&proxy.Handler{Target: parsed("http://b.test/"), Transport: next})
			},
			"Handler, Cache": func(next roundTripper) http.Handler {
				return &proxy.Handler{Target: parsed("http://b.test/"), Transport: (&Cache{}).Transport(next)}
			},
			"Cache, Cache": func(next roundTripper) http.Handler {
				return (&Cache{}).Wrap((&Cache{}).Wrap(&proxy.Handler{Target: parsed("http://b.test/"), Transport: next}))
			},
		} {
			t.Run(name+"/"+control, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := front(func(r *http.Request) (*http.Response, error) {
						time.Sleep(time.Second / 10)
						text := "for " + exchange.FactsOf(r, nil).User
						return &http.Response{
							StatusCode: 200, ProtoMajor: 1, ContentLength: int64(len(text)), Request: r,
							Header: http.Header{"Cache-Control": {control}}, Body: io.NopCloser(strings.NewReader(text)),
						}, nil
					})
					ask := func(user string) string {
						r := httptest.NewRequest(http.MethodGet, "/", nil)
						if user != "" {
							r = access.WithUser(r, user, "Cookie")
						}
						return bodyOf(t, askWith(h, r))
					}
					for _, pause := range []time.Duration{0, 2 * time.Second} {
						var wg sync.WaitGroup
						for _, user := range []string{"ann", "bob"} {
							wg.Go(func() {
								got := ask(user)
								if !shared {
									assertFor(t, user, got)
								}
							})
							if time.Sleep(pause); shared {
								wg.Wait() // ann is first
							}
						}
						wg.Wait()
						if shared {
							require.Equal(t, "for ann", ask(""))
						} else {
							assertFor(t, "", ask(""))
						}
					}
					time.Sleep(time.Minute) // what goes on in the background is done
				})
			})
		}
	}
}

// assertFor: nobody gets what was for another user; what is for nobody may go to all.
func assertFor(t *testing.T, user, got string) {
	if got != "for " {
		require.Equal(t, "for "+user, got)
	}
}

// TestUserOfAForwardProxy: its answers are stored, whoever has asked for them.
func TestUserOfAForwardProxy(t *testing.T) {
	asked := 0
	f := openForward((&Cache{}).Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		asked++
		return &http.Response{StatusCode: 200, ProtoMajor: 1, ContentLength: 1, Header: http.Header{"Cache-Control": {"max-age=60"}}, Body: io.NopCloser(strings.NewReader("x")), Request: r}, nil
	})))
	f.Clients = &access.Clients{Auth: &access.BasicAuth{Verify: func(context.Context, string, string) (bool, error) { return true, nil }}}
	for _, user := range []string{"ann", "bob"} {
		r := httptest.NewRequest(http.MethodGet, "http://site.test/", nil)
		r.SetBasicAuth(user, "x")
		r.Header["Proxy-Authorization"] = r.Header["Authorization"]
		delete(r.Header, "Authorization")
		require.Equal(t, "x", bodyOf(t, askWith(f, r)))
	}
	require.Equal(t, 1, asked)
}

// TestCacheIsADoor for what it has nothing to do with as well: all that is further
// in believes of a trusted peer what the cache believes.
func TestCacheIsADoor(t *testing.T) {
	for name, fields := range map[string]string{
		"GET": "", "HEAD": "", "POST": "", "OPTIONS": "", "CONNECT": "", "a WebSocket": "Connection: Upgrade|Upgrade: websocket", "a range": "Range: bytes=0-1", "a condition": "If-Match: \"x\"",
	} {
		for _, trusted := range []bool{true, false} {
			var f exchange.Facts
			h := (&Cache{TrustedProxies: trustable}).Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				f = exchange.FactsOf(r, nil)
			}))
			a := arrival{host: "site.test", fields: "X-Forwarded-Proto: https|X-Forwarded-Host: shop.test|" + fields, fromTrustable: trusted}
			r := a.request()
			if fields == "" {
				r.Method = name
			}
			askWith(h, r)
			want := exchange.Facts{Peer: r.RemoteAddr, Client: r.RemoteAddr, Trusted: trusted, Scheme: "http", Host: "site.test"}
			if trusted {
				want.Scheme, want.Host = "https", "shop.test"
			}
			require.Equal(t, want, f, "%s %t", name, trusted)
		}
	}
}
