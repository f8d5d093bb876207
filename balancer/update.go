package balancer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
)

// ErrUnknownMember is returned when no member has the name.
var ErrUnknownMember = errors.New("balancer: no such member")

// Add adds a member at the end of the list.
func (b *Balancer) Add(c MemberConfig) (*Member, error) {
	b.lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrClosed
	}
	m, err := b.add(c, true)
	if err != nil {
		return nil, err
	}
	b.rebuild()
	return m, nil
}

// add appends a member without showing it yet; b.mu is held.
func (b *Balancer) add(c MemberConfig, running bool) (*Member, error) {
	c.normalize()
	if b.find(c.Name) >= 0 {
		return nil, fmt.Errorf("balancer: two members are called %q", c.Name)
	}
	m, err := newMember(b, c)
	if err != nil {
		return nil, err
	}
	if running {
		m.startSlowly()
	}
	b.list = append(b.list, m)
	return m, nil
}

func (b *Balancer) find(name string) int {
	return slices.IndexFunc(b.list, func(m *Member) bool { return m.name == name })
}

// Remove takes a member out: from now on it gets no request, of no session
// either. It returns when its last request has ended, or with the context's
// error; the member is closed when they have ended in any case. To let sessions
// end first, call [Member.Drain] before.
func (b *Balancer) Remove(ctx context.Context, name string) error {
	b.lock()
	i := b.find(name)
	if i < 0 {
		b.mu.Unlock()
		return fmt.Errorf("%w: %q", ErrUnknownMember, name)
	}
	m := b.list[i]
	b.list = slices.Delete(slices.Clone(b.list), i, i+1)
	b.rebuild()
	b.mu.Unlock()
	m.takeOut()
	return m.waitIdle(ctx)
}

// Update makes list the members, in its order. A member with the same Name,
// URL, RoundTripper and Backend as before stays the same, with its state,
// counters and connections; the rest of its configuration is changed where
// list differs from what Add, New or Update was told before, so that changes
// made by [Member.Configure] survive. Members that are not in list are removed
// and finish what they have. Nothing changes if list is invalid.
func (b *Balancer) Update(list []MemberConfig) error {
	b.lock()
	gone, err := b.update(list)
	b.mu.Unlock()
	for _, m := range gone {
		m.takeOut()
	}
	return err
}

func (b *Balancer) update(list []MemberConfig) (gone []*Member, err error) {
	if b.closed {
		return nil, ErrClosed
	}
	next := make([]*Member, 0, len(list))
	var fresh []*Member
	seen := make(map[string]bool, len(list))
	have := make(map[string]*Member, len(b.list)) // but for those that stay
	for _, m := range b.list {
		have[m.name] = m
	}
	fail := func(err error) ([]*Member, error) { return fresh, err }
	for _, c := range list {
		c.normalize()
		if seen[c.Name] {
			return fail(fmt.Errorf("balancer: two members are called %q", c.Name))
		}
		seen[c.Name] = true
		if err := c.validate(); err != nil {
			return fail(err)
		}
		if m := have[c.Name]; m != nil && m.is(&c) {
			delete(have, c.Name)
			next = append(next, m)
			continue
		}
		m, err := newMember(b, c)
		if err != nil {
			return fail(err)
		}
		m.startSlowly()
		fresh = append(fresh, m)
		next = append(next, m)
	}
	for i, m := range next {
		c := list[i]
		c.normalize()
		m.redeclare(c)
	}
	for _, m := range b.list {
		if have[m.name] != nil {
			gone = append(gone, m)
		}
	}
	b.list = next
	b.rebuild()
	return gone, nil
}

// is reports whether c describes the same member.
func (m *Member) is(c *MemberConfig) bool {
	d := &m.declared
	return d.URL == c.URL && d.Host == c.Host && d.Backend == c.Backend && sameTransport(d.RoundTripper, c.RoundTripper)
}

// sameTransport compares without the panic that functions as transports would
// cause: those of one type are taken for the same.
func sameTransport(a, b http.RoundTripper) bool {
	if reflect.TypeOf(a) != reflect.TypeOf(b) {
		return false
	}
	return a == nil || !reflect.ValueOf(a).Comparable() || a == b
}

// redeclare applies where c differs from what was declared before.
func (m *Member) redeclare(c MemberConfig) {
	d := m.declared
	m.declared = c
	_ = m.configure(func(now *MemberConfig) {
		carry(&now.LoadFactor, d.LoadFactor, c.LoadFactor)
		carry(&now.LBSet, d.LBSet, c.LBSet)
		carry(&now.Route, d.Route, c.Route)
		carry(&now.Redirect, d.Redirect, c.Redirect)
		carry(&now.Flags, d.Flags, c.Flags)
		carry(&now.Retry, d.Retry, c.Retry)
		carry(&now.MaxInFlight, d.MaxInFlight, c.MaxInFlight)
		carry(&now.MaxWaiting, d.MaxWaiting, c.MaxWaiting)
		carry(&now.WaitTimeout, d.WaitTimeout, c.WaitTimeout)
		carry(&now.SlowStart, d.SlowStart, c.SlowStart)
		carry(&now.Check, d.Check, c.Check)
	})
}

// carry sets now to next if that differs from before.
func carry[T comparable](now *T, before, next T) {
	if before != next {
		*now = next
	}
}
