package zerovalues

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"net"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
)

// flaky is members of whom only one answers, after the others.
type flaky struct{ asked atomic.Int64 }

func (f *flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.asked.Add(1)%5 != 0 {
		return nil, errStub
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("x")), Request: r}, nil
}

// steady always answers.
type steady struct{}

func (steady) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("x")), Request: r}, nil
}

// balanced has a minute of requests with a balancer, under synctest's clock. Who
// checks or looks up more often than ten times a second is stopped there.
func (k *kit) balanced(c balancer.Config, edit func(*balancer.MemberConfig)) (err error) {
	synctest.Test(k.t, func(t *testing.T) {
		var calls atomic.Int64
		check := func(ctx context.Context, _ *balancer.Member) error {
			if calls.Add(1) > 4000 {
				<-ctx.Done() // a loop without end
			}
			return nil
		}
		var members []balancer.MemberConfig
		for i := range 5 {
			m := balancer.MemberConfig{Name: fmt.Sprint(i), URL: "http://a", Retry: time.Second, RoundTripper: steady{}}
			if edit != nil {
				edit(&m)
			}
			if m.Check != nil {
				m.Check.Func = check
			}
			members = append(members, m)
		}
		var b *balancer.Balancer
		if b, err = balancer.New(c, members...); err != nil {
			err = fmt.Errorf("%w: %w", errRefused, err)
			return
		}
		defer func() { require.NoError(t, b.Close()) }()
		for range 20 {
			time.Sleep(3 * time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			resp, rerr := b.RoundTrip(httptest.NewRequest("GET", "http://b/x", nil).WithContext(ctx))
			cancel()
			if rerr != nil {
				err = rerr
				break
			}
			_ = resp.Body.Close()
		}
		require.LessOrEqual(t, calls.Load(), int64(4000), "a loop without end")
	})
	return err
}

// found resolves every name to one address.
type found struct{ calls atomic.Int64 }

func (f *found) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	if f.calls.Add(1) > 4000 {
		<-ctx.Done()
	}
	return []netip.Addr{netip.IPv6Loopback()}, nil
}

func (f *found) LookupSRV(ctx context.Context, _, _, _ string) (string, []*net.SRV, error) {
	if f.calls.Add(1) > 4000 {
		<-ctx.Done()
	}
	return "", []*net.SRV{{Target: "a.", Port: 80}}, nil
}

func (k *kit) discovered(d balancer.Discovery, calls *atomic.Int64) error {
	defer func() { require.LessOrEqual(k.t, calls.Load(), int64(4000), "a loop without end") }()
	return k.balanced(balancer.Config{Discovery: d, DiscoveryInterval: time.Hour}, nil)
}

var balancerParts = []part{
	ofMany(map[string]func(*kit, *balancer.Config) error{
		"steady": func(k *kit, c *balancer.Config) error {
			c.Discovery = nil
			return k.balanced(*c, func(m *balancer.MemberConfig) { m.Check = &balancer.Check{} })
		},
		"flaky": func(k *kit, c *balancer.Config) error {
			if c.MaxAttempts < 0 || c.MaxAttempts == 1 {
				return k.balanced(*c, nil)
			}
			f := &flaky{}
			c.RetryIdempotent = true
			return k.balanced(*c, func(m *balancer.MemberConfig) { m.RoundTripper = f })
		},
	}),
	of(func(k *kit, m *balancer.MemberConfig) error {
		return k.balanced(balancer.Config{}, func(c *balancer.MemberConfig) {
			name := c.Name
			*c = *m
			c.Name, c.URL, c.RoundTripper = name, "http://a", steady{}
			if m.MaxWaiting != 0 || m.WaitTimeout != 0 {
				c.MaxInFlight = 1
			}
		})
	}),
	of(func(k *kit, c *balancer.Check) error {
		return k.balanced(balancer.Config{}, func(m *balancer.MemberConfig) { check := *c; m.Check = &check })
	}),
	of(func(k *kit, e *balancer.Ejection) error {
		return k.balanced(balancer.Config{Eject: e, RetryIdempotent: true}, func(m *balancer.MemberConfig) {
			if m.Name == "0" {
				m.RoundTripper = stubTransport{}
			}
		})
	}),
	of(func(k *kit, h *balancer.Hash) error { return k.balanced(balancer.Config{Method: h}, nil) }),
	of(func(k *kit, l *balancer.LeastTime) error { return k.balanced(balancer.Config{Method: l}, nil) }),
	of(func(k *kit, c *balancer.RouteCookie) error {
		return k.balanced(balancer.Config{Sticky: balancer.Sticky{Cookie: "R", SetCookie: c}}, func(m *balancer.MemberConfig) { m.Route = "r" + m.Name })
	}),
	of(func(k *kit, d *balancer.DNS) error {
		f := &found{}
		d.Host, d.Resolver, d.Member = "a", f, balancer.MemberConfig{RoundTripper: steady{}}
		list, _, err := d.Discover(k.t.Context())
		if err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		require.Len(k.t, list, 1)
		return k.discovered(d, &f.calls)
	}),
	of(func(k *kit, d *balancer.SRV) error {
		f := &found{}
		d.Name, d.Resolver, d.Member = "a", f, balancer.MemberConfig{RoundTripper: steady{}}
		return k.discovered(d, &f.calls)
	}),
}
