package balancer

import (
	"context"
	"crypto/tls"
	"fmt"
	"hash/fnv"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// Defaults of the fields of a [MemberConfig].
const (
	DefaultRetry       = 60 * time.Second
	DefaultWaitTimeout = time.Second
)

// MemberConfig describes a member. Only URL is needed. Name, URL, RoundTripper
// and Backend say what the member is; the rest can be changed while it serves.
type MemberConfig struct {
	// Name identifies the member in its balancer. Empty means the URL's text.
	Name string `json:"name"`

	// URL is where the member is: scheme, host and perhaps a path that is put
	// before that of each request, or "unix:/path|http://host/".
	URL string `json:"url"`

	// RoundTripper speaks to the member. If nil, a [proxy.Transport] does.
	RoundTripper http.RoundTripper `json:"-"`

	// Backend is the pool of connections of that Transport. If nil, the member
	// gets one of its own. Its Retry should stay zero: the state of a member
	// belongs to the member, so that two balancers can share a Backend and yet
	// judge for themselves.
	Backend *backend.Backend `json:"-"`

	// Host is sent as Host where the client's is not preserved, and is the name
	// that a TLS certificate is verified for. Empty means the URL's host. It is
	// for members found by address.
	Host string `json:"host,omitempty"`

	// LoadFactor is the member's share, 1 to 100, with two decimals. Zero means
	// 1. Apache: loadfactor.
	LoadFactor float64 `json:"loadFactor,omitempty"`

	// LBSet is the set that the member is in; lower sets are used first.
	// Apache: lbset.
	LBSet int `json:"lbSet,omitempty"`

	// Route is what sessions call this member. Apache: route.
	Route string `json:"route,omitempty"`

	// Redirect is the route to which requests without a session that would go
	// to this member are sent, and those of its sessions while it is unusable.
	// Apache: redirect.
	Redirect string `json:"redirect,omitempty"`

	// Flags are the administrative flags. Apache: status.
	Flags Flags `json:"flags,omitempty"`

	// Retry is how long a member in the error state is left alone before one
	// request probes it. Zero means 60 s; negative means not at all. Apache:
	// retry.
	Retry time.Duration `json:"retry,omitempty"`

	// MaxInFlight limits the requests that the member has at a time. Zero
	// means no limit; negative is refused. A full member is passed over; when all are full, requests
	// wait in line.
	MaxInFlight int `json:"maxInFlight,omitempty"`

	// MaxWaiting limits the line. Zero means MaxInFlight; negative lets none
	// wait.
	MaxWaiting int `json:"maxWaiting,omitempty"`

	// WaitTimeout bounds the wait. Zero means 1 s; negative means no limit.
	WaitTimeout time.Duration `json:"waitTimeout,omitempty"`

	// SlowStart is the time in which a member that was added to a running
	// balancer, or has recovered, grows from a tenth of its LoadFactor to all
	// of it. Zero or less means that it gets its share at once.
	SlowStart time.Duration `json:"slowStart,omitempty"`

	// Check, if not nil, is the active health check. Apache: hcmethod and its
	// kin. It must not be changed once given.
	Check *Check `json:"check,omitempty"`
}

// URLs makes the configurations of members that need nothing but a URL.
func URLs(urls ...string) []MemberConfig {
	list := make([]MemberConfig, len(urls))
	for i, u := range urls {
		list[i].URL = u
	}
	return list
}

// A Member is one of those among whom a [Balancer] chooses. All its methods
// may be called from any goroutine.
type Member struct {
	factor atomic.Int64 // LoadFactor ×100
	ramp   atomic.Int64 // when slow start began, in ns of monotonic time; 0 when it is over
	_      [64]byte     // what follows changes with each request

	busy, elected, sent, received, errors atomic.Int64

	latency   latency
	gate      gate
	failures  atomic.Int32 // in a row, for [Ejection]
	ejections int          // how often so far; guarded by b.ejecting

	name    string
	id      uint64
	base    url.URL // of the member, its path without the last slash
	rawBase string  // its path as it is sent
	rt      http.RoundTripper
	backend *backend.Backend // nil with a foreign RoundTripper
	release func()           // frees what was made for the member
	foreign bool             // RoundTripper or Backend were given
	b       *Balancer        // nil for a member without a balancer
	health  backend.Health
	outages *outages
	config  currentConfig
	removed atomic.Bool
	retire  sync.Once
	idle    signal // someone waits for busy to become zero

	declared MemberConfig // what Add or Update last said; guarded by b.mu
	check    checkState
	overdue  atomic.Pointer[Check] // one that has not returned though its time is over
}

// currentConfig is the configuration of a member; that of the zero value is
// zero.
type currentConfig struct{ p atomic.Pointer[MemberConfig] }

func (c *currentConfig) Store(now *MemberConfig) { c.p.Store(now) }

func (c *currentConfig) Load() *MemberConfig {
	if now := c.p.Load(); now != nil {
		return now
	}
	return new(MemberConfig)
}

// NewMember makes a member that belongs to no balancer: for tests of a
// [Method].
func NewMember(c MemberConfig) (*Member, error) { return newMember(nil, c) }

func newMember(b *Balancer, c MemberConfig) (*Member, error) {
	c.normalize()
	m := &Member{b: b, declared: c, release: func() {}, outages: new(outages)}
	if err := c.validate(); err != nil {
		return nil, err
	}
	if err := m.prepare(&c); err != nil {
		return nil, err
	}
	if err := m.locate(&c); err != nil {
		m.release()
		return nil, err
	}
	m.name = c.Name
	m.foreign = m.declared.RoundTripper != nil || m.declared.Backend != nil
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.Name))
	m.id = h.Sum64()
	m.rt, m.backend = c.RoundTripper, c.Backend
	if m.rt == nil {
		m.ownTransport(&c)
	}
	m.apply(&c)
	if c.Check != nil && c.Check.Unproven {
		m.health.SetCheck(true, nil)
	}
	return m, nil
}

func (c *MemberConfig) normalize() {
	if c.Name == "" {
		c.Name = c.URL
	}
	if c.LoadFactor == 0 {
		c.LoadFactor = 1
	}
}

// prepare lets the balancer's user give the member a transport.
func (m *Member) prepare(c *MemberConfig) error {
	if m.b == nil || m.b.config.Prepare == nil || c.RoundTripper != nil || c.Backend != nil {
		return nil
	}
	release, err := m.b.config.Prepare(c)
	if err != nil {
		return fmt.Errorf("balancer: member %q: %w", c.Name, err)
	}
	if release != nil {
		m.release = release
	}
	return nil
}

// locate reads the URL.
func (m *Member) locate(c *MemberConfig) error {
	text := c.URL
	if len(text) > 5 && strings.EqualFold(text[:5], "unix:") {
		b, err := backend.Parse(text)
		if err != nil {
			return fmt.Errorf("balancer: member: %w", err)
		}
		_, text, _ = strings.Cut(text, "|")
		if strings.HasSuffix(text, ":") {
			text += "//" + b.URL.Host
		}
		if c.Backend == nil && c.RoundTripper == nil {
			c.Backend = b
			m.release = func() { _ = b.Close() }
		}
	}
	u, err := backend.ParseURL(text)
	if err != nil {
		return fmt.Errorf("balancer: member: %w", err)
	}
	if u.Scheme == "" || u.Host == "" || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("balancer: member %q: want scheme://host or scheme://host/path", backend.RedactURL(u.String()))
	}
	u.Path, m.rawBase = strings.TrimSuffix(u.Path, "/"), strings.TrimSuffix(u.EscapedPath(), "/")
	u.RawPath = ""
	m.base = *u
	return nil
}

// ownTransport gives the member a Transport, and a Backend if it has none.
func (m *Member) ownTransport(c *MemberConfig) {
	if m.backend == nil {
		own := &backend.Backend{URL: &url.URL{Scheme: m.base.Scheme, Host: m.base.Host}}
		if c.Host != "" {
			own.TLS = &tls.Config{ServerName: hostname(c.Host)}
		}
		m.backend = own
		m.release = func() { _ = own.Close() }
	}
	t := &proxy.Transport{Backend: m.backend}
	m.rt = t
	closeBackend := m.release
	m.release = func() {
		t.CloseIdleConnections()
		closeBackend()
	}
}

func hostname(hostport string) string {
	return (&url.URL{Host: hostport}).Hostname()
}

// validate checks what can be changed.
func (c *MemberConfig) validate() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("balancer: member %q: %s", c.Name, fmt.Sprintf(format, args...))
	}
	if !(c.LoadFactor >= 1 && c.LoadFactor <= 100) {
		return fail("load factor %v is not in 1 to 100", c.LoadFactor)
	}
	if c.LBSet < 0 || c.LBSet > 99 {
		return fail("set %d is not in 0 to 99", c.LBSet)
	}
	for _, route := range []string{c.Route, c.Redirect} {
		if !validRoute(route) {
			return fail("route %q: want letters, digits and signs that a cookie may hold", route)
		}
	}
	if c.MaxInFlight < 0 {
		return fail("MaxInFlight is negative")
	}
	if c.Check != nil {
		if err := c.Check.validate(); err != nil {
			return fail("check: %v", err)
		}
	}
	return nil
}

// validRoute reports whether a route can be part of a cookie's value and of a
// path.
func validRoute(s string) bool {
	if len(s) > 96 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`",;\/?&#=%`, c) >= 0 {
			return false
		}
	}
	return true
}

// apply makes c the configuration.
func (m *Member) apply(c *MemberConfig) {
	m.factor.Store(int64(math.Round(c.LoadFactor * 100)))
	m.gate.limit(c.MaxInFlight, c.MaxWaiting)
	m.config.Store(c)
}

// Name returns the member's name.
func (m *Member) Name() string { return m.name }

// String returns the member's URL without a trailing slash.
func (m *Member) String() string { return m.base.String() }

// ID returns a hash of the member's name, the same in every process: for
// methods that map requests to members.
func (m *Member) ID() uint64 { return m.id }

// Factor returns the member's share in hundredths, 100 for a LoadFactor of 1;
// less during slow start, and never less than 1.
func (m *Member) Factor() int {
	f := m.factor.Load()
	if m.ramp.Load() == 0 {
		return max(int(f), 1)
	}
	return m.ramped(f)
}

// ramped is Factor during slow start.
func (m *Member) ramped(f int64) int {
	begun := m.ramp.Load()
	total := m.config.Load().SlowStart
	gone := monotonic() - time.Duration(begun)
	if begun == 0 || gone >= total {
		m.ramp.CompareAndSwap(begun, 0)
		return int(f)
	}
	share := 0.1 + 0.9*float64(gone)/float64(total)
	return max(int(float64(f)*share), 1)
}

// startSlowly begins slow start, if the member has one.
func (m *Member) startSlowly() {
	if m.config.Load().SlowStart > 0 {
		m.ramp.Store(int64(monotonic()))
	}
}

// Busy returns the requests that the member has now.
func (m *Member) Busy() int64 { return m.busy.Load() }

// Elected returns how often the member was chosen.
func (m *Member) Elected() int64 { return m.elected.Load() }

// Traffic returns the bytes of request bodies sent to the member and of answer
// bodies received from it. They are counted as they pass; heads are not, as in
// Apache.
func (m *Member) Traffic() (sent, received int64) { return m.sent.Load(), m.received.Load() }

// Latency returns the moving average of the time to the head of an answer. It
// decays while no answers come, so that a slow answer is not held against a
// member for ever. Zero means that nothing is known.
func (m *Member) Latency() time.Duration { return m.latency.value() }

// Route returns the name that sessions have for the member.
func (m *Member) Route() string { return m.config.Load().Route }

// Flags returns the administrative flags that are set.
func (m *Member) Flags() Flags { return m.config.Load().Flags }

// Config returns the configuration as it is now.
func (m *Member) Config() MemberConfig { return *m.config.Load() }

// RoundTripper returns what speaks to the member.
func (m *Member) RoundTripper() http.RoundTripper { return m.rt }

// Backend returns the member's pool of connections, or nil if it has only a
// RoundTripper of its own.
func (m *Member) Backend() *backend.Backend { return m.backend }

// Removed reports whether the member was taken out of its balancer, so that a
// Method can forget it.
func (m *Member) Removed() bool { return m.removed.Load() }

// Configure changes the configuration: edit gets a copy. Name, URL, Host,
// RoundTripper and Backend stay as they are. Nothing changes if it becomes
// invalid.
func (m *Member) Configure(edit func(*MemberConfig)) error {
	if m.b == nil {
		return m.configure(edit)
	}
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	if err := m.configure(edit); err != nil {
		return err
	}
	m.b.rebuild()
	return nil
}

func (m *Member) configure(edit func(*MemberConfig)) error {
	old := m.config.Load()
	c := *old
	edit(&c)
	c.Name, c.URL, c.Host, c.RoundTripper, c.Backend = old.Name, old.URL, old.Host, old.RoundTripper, old.Backend
	c.normalize()
	if err := c.validate(); err != nil {
		return err
	}
	m.apply(&c)
	if c.Check == nil && old.Check != nil { // nobody would take it off
		m.setCheckFailed(context.Background(), false, nil)
	}
	return nil
}

// SetFlags sets and clears administrative flags, in this order.
func (m *Member) SetFlags(set, clear Flags) {
	_ = m.Configure(func(c *MemberConfig) { c.Flags = (c.Flags | set) &^ clear })
}

// SetLoadFactor changes the member's share.
func (m *Member) SetLoadFactor(f float64) error {
	return m.Configure(func(c *MemberConfig) { c.LoadFactor = f })
}

var processStart = time.Now()

// monotonic is the time since a fixed moment, never zero.
func monotonic() time.Duration { return time.Since(processStart) + 1 }
