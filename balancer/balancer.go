package balancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrNoMember is returned when no member can be chosen.
var ErrNoMember = errors.New("no member is usable")

// ErrNoCheck is returned by CheckNow for a member without a Check.
var ErrNoCheck = errors.New("balancer: member has no check")

// ErrSessionMember is returned when the member of a session is not usable and
// Sticky.NoFailover forbids another.
var ErrSessionMember = errors.New("the session's member is not usable")

// ErrClosed is returned for requests after Close.
var ErrClosed = errors.New("balancer is closed")

// DefaultGrowth is the default of Config.Growth.
const DefaultGrowth = 5

// Config says how a [Balancer] works. The zero value is useful. What can be
// changed while it serves says [Balancer.Configure].
type Config struct {
	// Name is the balancer's name in records, errors and logs, as in
	// balancer://name.
	Name string

	// Method chooses. If nil, a [ByRequests]. Apache: lbmethod.
	Method Method

	// MaxAttempts is how many other members may be tried after the first has
	// failed. Zero means the number of members less one; negative means none.
	// Apache: maxattempts.
	MaxAttempts int

	// Sticky keeps the requests of a session on one member. Apache:
	// stickysession and its kin.
	Sticky Sticky

	// Timeout is how long a request waits for a member to become usable when
	// none is. Zero or less refuses it at once. Apache: timeout.
	Timeout time.Duration

	// FailOnStatus puts a member that answers with one of these into the error
	// state, and tries another if the request is idempotent and its body can
	// be sent again. Apache: failonstatus.
	FailOnStatus []int

	// FailOnTimeout puts a member whose answer did not come in time into the
	// error state. Apache: failontimeout.
	FailOnTimeout bool

	// NoForceRecovery keeps members in the error state even when all of them
	// are; otherwise they are all tried then. Apache: forcerecovery=Off.
	NoForceRecovery bool

	// RetryIdempotent also sends idempotent requests to another member after
	// failures that may have come from the application's work: no answer in
	// time, or a head that was malformed or cut.
	RetryIdempotent bool

	// RetryBudget limits further attempts to this share of the requests, from
	// above 0 to 1, so that retries cannot multiply an overload; ten in a row
	// are always allowed. Zero means no limit.
	RetryBudget float64

	// RetryBackoff is the pause before the second further attempt; it doubles
	// for each that follows, and is spread at random. The first is made at
	// once. Zero or less makes all at once.
	RetryBackoff time.Duration

	// Eject, if not nil, takes members out that fail too often in a row.
	Eject *Ejection

	// MaxChecks is the number of active checks that may run at once. Zero or
	// less means 16.
	MaxChecks int

	// Discovery, if not nil, is asked for the members again and again: those
	// given to New are used until it first answers.
	Discovery Discovery

	// DiscoveryInterval is the time between questions when Discovery names
	// none. Zero or less means 30 s. It is never asked more often than once a second.
	DiscoveryInterval time.Duration

	// Growth is how many members a page such as that of package manager may add. Zero means 5; negative
	// means none. Add has no such limit. Apache: growth, BalancerGrowth.
	Growth int

	// Prepare, if not nil, gives a RoundTripper, and perhaps a Backend, to each
	// member that has neither: those that a manager, Restore or Discovery adds
	// by their URL, too. release, if not nil, is called when the member is gone.
	Prepare func(m *MemberConfig) (release func(), err error)

	// OnAnswer, if not nil, may change the answer of a member before it is
	// passed on, 101 included. It must not read the body. What it adds for this
	// client alone should be noted with [exchange.NoteOwnField], under the context
	// of resp.Request.
	OnAnswer func(resp *http.Response, f *Facts)

	// OnStateChange, if not nil, is called after each change of a member's
	// state, with the cause of an error. It must not block.
	OnStateChange func(m *Member, from, to State, cause error)

	// Logger gets, at level Warn, that a member goes into the error state or
	// fails its checks and that discovery fails; at Info that they work again,
	// with the sums of what has failed meanwhile; and at Debug what is in
	// between: attempts that failed, and trials. If nil, nothing is logged.
	Logger *slog.Logger
}

// Ejection takes a member out of use that fails too often: the error state,
// for failures which do not lead there by themselves. Failures are answers of
// 500 and above, and requests that ended without an answer. Numbers must not be
// negative.
type Ejection struct {
	// Failures is how many in a row it takes. Zero means 5.
	Failures int

	// Time is how long the member is out the first time, twice as long the
	// second time, and so on to ten times. Zero means 30 s.
	Time time.Duration

	// MaxShare is the share of the members that may be out at a time. Zero
	// means 0.5, and 1 is the most. One may always be, but never all.
	MaxShare float64
}

// Balancer spreads requests over members. It is an http.RoundTripper; see the
// package comment. The zero value has no members yet.
type Balancer struct {
	view   currentView
	unwell atomic.Int64 // members of the view whose health needs a look
	freed  signal       // a member may have become usable
	hoping atomic.Int64 // requests waiting for that
	budget budget
	work   sync.WaitGroup
	life   context.Context
	stop   context.CancelFunc

	mu     sync.Mutex // guards changes of members and configuration
	list   []*Member
	config Config
	closed bool

	countMu  sync.Mutex // held while unwell is counted
	ejecting sync.Mutex // held while it is decided whether one more member may be out
	checks   scheduler
}

// New makes a balancer of the members. It fails if a member's configuration is
// invalid or two members have the same name. Members may be none at first.
func New(c Config, members ...MemberConfig) (*Balancer, error) {
	if c.Method == nil {
		c.Method = &ByRequests{}
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	b := &Balancer{config: c}
	b.lock()
	defer b.mu.Unlock()
	for _, mc := range members {
		if _, err := b.add(mc, false); err != nil {
			b.stop()
			for _, m := range b.list {
				m.retireNow()
			}
			return nil, err
		}
	}
	b.rebuild()
	if c.Discovery != nil {
		b.work.Add(1)
		go b.discover(c.Discovery, c.DiscoveryInterval)
	}
	return b, nil
}

// lock is for changes of members and configuration. The first makes the zero
// value a balancer without members.
func (b *Balancer) lock() {
	b.mu.Lock()
	if b.life == nil {
		if b.config.Method == nil {
			b.config.Method = &ByRequests{}
		}
		b.life, b.stop = context.WithCancel(context.Background())
		b.checks.init(b, b.config.MaxChecks)
	}
}

func (c *Config) validate() error {
	if !(c.RetryBudget >= 0 && c.RetryBudget <= 1) { // nor is it not a number
		return errors.New("balancer: RetryBudget is not in 0 to 1")
	}
	if c.Method == nil {
		return errors.New("balancer: no method")
	}
	for _, s := range c.FailOnStatus {
		if s < 100 || s > 599 {
			return fmt.Errorf("balancer: FailOnStatus: %d is no status", s)
		}
	}
	if e := c.Eject; e != nil && (e.Failures < 0 || e.Time < 0 || !(e.MaxShare >= 0 && e.MaxShare <= 1)) {
		return errors.New("balancer: Eject: a negative number, or MaxShare is not in 0 to 1")
	}
	return c.Sticky.validate()
}

// Close ends checks and discovery and closes what was made for the members.
// Requests that are under way finish; new ones fail.
func (b *Balancer) Close() error {
	b.lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	list := b.list
	b.list = nil
	b.rebuild()
	b.mu.Unlock()
	b.stop()
	b.checks.wake()
	b.work.Wait()
	for _, m := range list {
		m.takeOut()
	}
	return nil
}

// Name returns the balancer's name.
func (b *Balancer) Name() string { return b.view.Load().config.Name }

// String returns "balancer://" and the name.
func (b *Balancer) String() string { return "balancer://" + b.Name() }

// Config returns the configuration as it is now.
func (b *Balancer) Config() Config {
	c := b.view.Load().config
	c.FailOnStatus = slices.Clone(c.FailOnStatus)
	return c
}

// Configure changes the configuration: edit gets a copy. Requests that are
// under way keep the one that they began with. Name, MaxChecks, Discovery and
// DiscoveryInterval, and Prepare, stay as they are. Nothing changes if it becomes invalid.
func (b *Balancer) Configure(edit func(*Config)) error {
	b.lock()
	defer b.mu.Unlock()
	c := b.config
	c.FailOnStatus = slices.Clone(c.FailOnStatus)
	edit(&c)
	if c.Method == nil {
		c.Method = &ByRequests{}
	}
	if err := c.validate(); err != nil {
		return err
	}
	c.Name, c.MaxChecks = b.config.Name, b.config.MaxChecks
	c.Discovery, c.DiscoveryInterval, c.Prepare = b.config.Discovery, b.config.DiscoveryInterval, b.config.Prepare
	b.config = c
	b.rebuild()
	return nil
}

// SetMethod changes the method.
func (b *Balancer) SetMethod(m Method) { _ = b.Configure(func(c *Config) { c.Method = m }) }

// Members returns the members in their order.
func (b *Balancer) Members() []*Member { return slices.Clone(b.view.Load().members) }

// Member returns the member of that name, or nil.
func (b *Balancer) Member(name string) *Member {
	for _, m := range b.view.Load().members {
		if m.name == name {
			return m
		}
	}
	return nil
}

// Ready returns nil if at least one member would get requests now: for
// readiness probes. It looks at spares and standbys as well.
func (b *Balancer) Ready() error {
	v := b.view.Load()
	for _, m := range v.members {
		if m.Usable() {
			return nil
		}
	}
	if v.closed {
		return ErrClosed
	}
	return ErrNoMember
}
