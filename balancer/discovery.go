package balancer

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy/backend"
)

// Discovery finds the members of a balancer: in the DNS ([DNS], [SRV]), or
// wherever yours are listed.
type Discovery interface {
	// Discover returns the members as they are now, and how long that may be
	// believed; zero means the balancer's DiscoveryInterval. On an error, or
	// when the list is empty, the balancer keeps the members that it has:
	// better old ones than none. It is not called again before it has returned.
	Discover(ctx context.Context) (list []MemberConfig, valid time.Duration, err error)
}

const (
	defaultDiscoveryInterval = 30 * time.Second
	minDiscoveryInterval     = time.Second
	discoveryTimeout         = 30 * time.Second
)

// discover asks again and again, until the balancer is closed.
func (b *Balancer) discover(d Discovery, interval time.Duration) {
	defer b.work.Done()
	if interval <= 0 {
		interval = defaultDiscoveryInterval
	}
	var out atomic.Bool // a call has not returned
	var outage backend.Outage
	for {
		wait := b.discoverOnce(d, interval, &out, &outage)
		timer := time.NewTimer(wait - wait/10 + rand.N(wait/10+1)) // never later than it is valid
		select {
		case <-timer.C:
		case <-b.life.Done():
			timer.Stop()
			return
		}
	}
}

func (b *Balancer) discoverOnce(d Discovery, interval time.Duration, out *atomic.Bool, outage *backend.Outage) time.Duration {
	ctx, cancel := context.WithTimeout(b.life, discoveryTimeout)
	type answer struct {
		list  []MemberConfig
		valid time.Duration
	}
	var found answer
	err := errOverdue
	if out.CompareAndSwap(false, true) {
		found, err = backend.Within(ctx, func(ctx context.Context) (a answer, err error) {
			defer out.Store(false)
			a.list, a.valid, err = d.Discover(ctx)
			return a, err
		}, func(answer) {})
	}
	cancel()
	if err == nil && len(found.list) > 0 {
		err = b.Update(found.list)
	}
	if err != nil && b.life.Err() == nil {
		level := slog.LevelDebug
		if outage.Failed() {
			level = slog.LevelWarn
		}
		if v := b.view.Load(); v.config.Logger != nil {
			v.config.Logger.Log(b.life, level, "balancer: discovery failed", "balancer", v.config.Name, "error", err)
		}
		return max(interval, minDiscoveryInterval)
	}
	if sums := outage.Over(); sums != nil && err == nil {
		if v := b.view.Load(); v.config.Logger != nil {
			v.config.Logger.LogAttrs(b.life, slog.LevelInfo, "balancer: discovery works again", append(sums, slog.String("balancer", v.config.Name))...)
		}
	}
	if found.valid <= 0 {
		found.valid = interval
	}
	return max(found.valid, minDiscoveryInterval)
}
