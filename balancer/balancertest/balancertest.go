package balancertest

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/modproxy/modproxy/balancer"
)

// Claims are what a method promises beyond the rules for all.
type Claims struct {
	// Weighted: with idle members, each gets its load factor's share.
	Weighted bool

	// Spreads: with idle members of equal factors, each gets some requests.
	Spreads bool

	// Tolerance is the error of a member's share that is allowed, relative to
	// it. Zero means 0.05.
	Tolerance float64

	// Picks is how many picks shares are measured over. Zero means 100000.
	Picks int

	// Request makes the n-th request. If nil, GETs from changing addresses for
	// changing paths.
	Request func(n int) *http.Request
}

// TestMethod returns what is wrong with the method that make returns, or nil.
// make is called for each check.
func TestMethod(make func() balancer.Method, c Claims) error {
	if c.Request == nil {
		c.Request = request
	}
	if c.Picks == 0 {
		c.Picks = 100_000
	}
	if c.Tolerance == 0 {
		c.Tolerance = 0.05
	}
	var errs []error
	for _, check := range []struct {
		name string
		run  func(balancer.Method, Claims) error
	}{
		{"one member", one},
		{"changing lists", changing},
		{"in a balancer", inside},
		{"shares", shares},
		{"spread", spread},
		{"concurrency", concurrent},
	} {
		if check.name == "concurrency" && len(errs) > 0 {
			break // it would only say the same, eight times
		}
		if err := guarded(func() error { return check.run(make(), c) }); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", check.name, err))
		}
	}
	return errors.Join(errs...)
}

// guarded makes a panic an error.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

func request(n int) *http.Request {
	return &http.Request{
		Method: http.MethodGet, URL: &url.URL{Scheme: "balancer", Host: "test", Path: fmt.Sprintf("/%d", n)},
		Header:     http.Header{"Cookie": {fmt.Sprintf("id=%d", n)}},
		RemoteAddr: fmt.Sprintf("10.%d.%d.%d:1234", n>>16&255, n>>8&255, n&255),
	}
}

// Members returns n idle members with these load factors, going round.
func Members(n int, factors ...float64) []*balancer.Member {
	list := make([]*balancer.Member, n)
	for i := range list {
		c := balancer.MemberConfig{Name: fmt.Sprintf("m%d", i), URL: fmt.Sprintf("http://m%d.example", i), RoundTripper: nothing{}}
		if len(factors) > 0 {
			c.LoadFactor = factors[i%len(factors)]
		}
		m, err := balancer.NewMember(c)
		if err != nil {
			panic(err) // a factor out of range
		}
		list[i] = m
	}
	return list
}

// nothing answers every request with an empty 200.
type nothing struct{}

func (nothing) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

// pick picks and checks the rules for all.
func pick(m balancer.Method, r *http.Request, usable []*balancer.Member) (*balancer.Member, error) {
	before := slices.Clone(usable)
	got := m.Pick(r, usable)
	switch {
	case !slices.Equal(before, usable):
		return nil, errors.New("the list given to Pick was changed")
	case got == nil:
		return nil, fmt.Errorf("nil of %d usable members", len(usable))
	case !slices.Contains(usable, got):
		return nil, fmt.Errorf("%s is not usable", got.Name())
	}
	return got, nil
}

func one(m balancer.Method, c Claims) error {
	list := Members(1)
	for n := range 100 {
		if _, err := pick(m, c.Request(n), list); err != nil {
			return err
		}
	}
	return nil
}

// changing shortens, lengthens and reorders the list.
func changing(m balancer.Method, c Claims) error {
	all := Members(20, 1, 2, 5)
	for n := range 5000 {
		from := n * 7 % len(all)
		size := 1 + n*3%(len(all)-from)
		list := slices.Clone(all[from : from+size])
		if n%3 == 0 {
			slices.Reverse(list)
		}
		if _, err := pick(m, c.Request(n), list); err != nil {
			return err
		}
	}
	return nil
}

// concurrent is for the race detector.
func concurrent(m balancer.Method, c Claims) error {
	list := Members(5, 1, 3)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for g := range errs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[g] = guarded(func() error {
				for n := range 500 {
					usable := list[:1+(n+g)%len(list)]
					got, err := pick(m, c.Request(n), usable)
					if err != nil {
						return err
					}
					if o, ok := m.(balancer.Feedback); ok {
						o.Done(got, balancer.Outcome{Status: http.StatusOK, Latency: time.Millisecond})
					}
				}
				return nil
			})
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}

// inside runs the method in a balancer whose list changes.
func inside(m balancer.Method, c Claims) (err error) {
	config := func(i int) balancer.MemberConfig {
		return balancer.MemberConfig{Name: fmt.Sprintf("m%d", i), URL: "http://m.example", RoundTripper: nothing{}}
	}
	b, err := balancer.New(balancer.Config{Method: m}, config(0), config(1), config(2))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	for n := range 300 {
		switch n {
		case 100:
			err = b.Update([]balancer.MemberConfig{config(2), config(3)})
		case 200:
			b.Member("m2").SetFlags(balancer.Disabled, 0)
		}
		if err != nil {
			return err
		}
		resp, err := b.RoundTrip(c.Request(n))
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
	}
	if got := b.Member("m3").Elected(); got < 100 {
		return fmt.Errorf("the only usable member got %d of 100 requests", got)
	}
	return nil
}

// Errors returns, over picks of idle members with these load factors, the
// greatest error of a member's share relative to the share that is due to it.
func Errors(m balancer.Method, picks int, req func(n int) *http.Request, factors ...float64) float64 {
	if req == nil {
		req = request
	}
	list := Members(len(factors), factors...)
	count := make(map[*balancer.Member]int, len(list))
	total := 0.0
	for n := range picks {
		count[m.Pick(req(n), list)]++
	}
	for _, f := range factors {
		total += f
	}
	worst := 0.0
	for i, f := range factors {
		due := float64(picks) * f / total
		worst = math.Max(worst, math.Abs(float64(count[list[i]])-due)/due)
	}
	return worst
}

func shares(m balancer.Method, c Claims) error {
	if !c.Weighted {
		return nil
	}
	if e := Errors(m, c.Picks, c.Request, 1, 2, 3, 4); e > c.Tolerance {
		return fmt.Errorf("a member's share is wrong by %.1f %%", 100*e)
	}
	return nil
}

func spread(m balancer.Method, c Claims) error {
	if !c.Spreads {
		return nil
	}
	if e := Errors(m, c.Picks, c.Request, 1, 1, 1); e >= 1 {
		return errors.New("a member gets nothing, or all")
	}
	return nil
}
