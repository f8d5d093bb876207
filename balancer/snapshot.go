package balancer

import (
	"errors"
	"fmt"
	"time"
)

// Snapshot is what an administrator may have changed of a balancer, for keeping
// it over a restart as JSON. Apache: BalancerPersist.
type Snapshot struct {
	Name            string           `json:"name"`
	Method          string           `json:"method"`
	MaxAttempts     int              `json:"maxAttempts"`
	Timeout         time.Duration    `json:"timeout"`
	Cookie          string           `json:"cookie"`
	Param           string           `json:"param"`
	Separator       string           `json:"separator"`
	NoFailover      bool             `json:"noFailover"`
	FailOnStatus    []int            `json:"failOnStatus"`
	FailOnTimeout   bool             `json:"failOnTimeout"`
	NoForceRecovery bool             `json:"noForceRecovery"`
	Members         []MemberSnapshot `json:"members"`
}

// MemberSnapshot is a member's part of a [Snapshot].
type MemberSnapshot struct {
	MemberConfig
	Foreign bool `json:"foreign,omitempty"` // it has a RoundTripper or Backend of yours
}

// Snapshot returns what can be restored.
func (b *Balancer) Snapshot() Snapshot {
	v := b.view.Load()
	c := &v.config
	s := Snapshot{
		Name: c.Name, Method: v.method, MaxAttempts: c.MaxAttempts, Timeout: c.Timeout,
		Cookie: c.Sticky.Cookie, Param: c.Sticky.Param, Separator: c.Sticky.Separator, NoFailover: c.Sticky.NoFailover,
		FailOnStatus: c.FailOnStatus, FailOnTimeout: c.FailOnTimeout, NoForceRecovery: c.NoForceRecovery,
		Members: []MemberSnapshot{},
	}
	for _, m := range v.members {
		mc := m.Config()
		s.Members = append(s.Members, MemberSnapshot{mc, m.foreign})
	}
	return s
}

// Restore applies a snapshot. Members that the balancer has are changed, those
// that it has not are added; none is removed. A member that had a transport of
// yours cannot be added again, nor a method be made that is not built in: they
// are left alone, and told in the error, as is whatever is invalid. The rest is
// restored all the same.
func (b *Balancer) Restore(s Snapshot) error {
	var errs []error
	errs = append(errs, b.Configure(func(c *Config) {
		if s.Method != MethodName(c.Method) {
			if m, err := MethodByName(s.Method); err == nil {
				c.Method = m
			} else {
				errs = append(errs, err)
			}
		}
		c.MaxAttempts, c.Timeout = s.MaxAttempts, s.Timeout
		c.Sticky.Cookie, c.Sticky.Param, c.Sticky.Separator, c.Sticky.NoFailover = s.Cookie, s.Param, s.Separator, s.NoFailover
		c.FailOnStatus, c.FailOnTimeout, c.NoForceRecovery = s.FailOnStatus, s.FailOnTimeout, s.NoForceRecovery
	}))
	for _, ms := range s.Members {
		m := b.Member(ms.Name)
		if m == nil {
			if ms.Foreign {
				errs = append(errs, fmt.Errorf("balancer: member %q had a transport of its own", ms.Name))
				continue
			}
			_, err := b.Add(ms.MemberConfig)
			errs = append(errs, err)
			continue
		}
		errs = append(errs, m.Configure(func(c *MemberConfig) {
			check := c.Check
			*c = ms.MemberConfig
			if c.Check != nil && check != nil { // functions are not in a snapshot
				merged := *c.Check
				merged.Func, merged.Expect = check.Func, check.Expect
				c.Check = &merged
			} else if check != nil && check.Func != nil {
				c.Check = check
			}
		}))
	}
	return errors.Join(errs...)
}
