package cache

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// flight is one request to the origin and what becomes of its answer. It
// belongs to the cache: clients come and go meanwhile.
//
//	under way --head--> decided --body--> ended
//
// Whoever waits for it wakes when it is decided, and then knows whether the
// answer is for him.
type flight struct {
	c      *Cache
	key    string
	place  string // what the origin is told of the place, beside the key
	shared bool   // others may wait for it
	locked bool   // another request stores the answer: CollapseLock
	behind bool   // it validates in the background
	loner  loner
	asked  *http.Request // the request that caused it, as it came
	out    *http.Request // what the origin gets
	own    *exchange.OwnFields
	req    rfc9111.RequestDirectives
	cancel context.CancelFunc
	unlock func()          // gives back a lock; may be nil
	leader context.Context // of the request that caused it

	stale     *found      // what is stored in place of what is fetched; nil: nothing
	validates bool        // the origin is asked about that
	vary      []string    // what Vary said before, and
	values    http.Header // by what it tells this request apart

	sent    time.Time
	decided chan struct{} // closed when what follows is known
	ended   chan struct{} // closed when the origin is done with it

	// Known when decided:
	outcome   outcome
	received  time.Time
	status    int
	header    http.Header     // as it came
	told      http.Header     // what of it is the origin's
	why       rfc9111.Refusal // not to store
	retry     bool            // which need not hold for others
	meta      *store.Meta     // of what is being stored
	facts     *rfc9111.Facts
	body      *stream
	leads     *streamReader  // the leader's
	committed bool           // all has come, and was stored if it may be
	fresh     found          // the stored response that a 304 made fresh
	response  *http.Response // of a RoundTripper, for the leader alone
	err       error          // of a RoundTripper

	// Known when ended:
	panicked any
	stack    []byte

	storing sync.Mutex // held while something is made visible; guards what follows
	purged  bool       // what it fetches would be out of date
	purges  [][]string // surrogate keys that were purged meanwhile
	tags    []string   // those of its answer, once its head is in

	mu         sync.Mutex // guards what follows
	interested int        // clients that wait or read
	lingering  *time.Timer
	client     http.ResponseWriter // the leader's; nil when it has left
	hasClient  bool                // there is a leader who waits
	directing  bool                // the answer is being written to client
	lent       bool                // the leader has the response itself
	kept       store.Body          // of a response that may not stay stored, for the leader
}

// outcome is what became of a flight.
type outcome uint8

const (
	outcomeNone      outcome = iota
	outcomeStored            // the answer is in body, and being stored
	outcomeFreshened         // 304: what is stored may be used
	outcomeStale             // the origin failed, and something stale serves
	outcomeDirect            // the answer is for the leader alone
	outcomeFailed            // there was no answer
	outcomeAgain             // a 304 that fits nothing: ask without conditions
)

// flightTable holds the flights that are under way: those that others may wait
// for, and those that must not store what a purge or a change makes out of date.
type flightTable struct {
	mu      sync.Mutex
	flights map[string][]*flight

	// landed is how many flights have been taken out. If it did not change,
	// nothing was stored meanwhile.
	landed atomic.Uint64
}

// board returns a shared flight under key that fits, or else adds the one that
// make returns, and reports whether it is that.
func (t *flightTable) board(key string, fits func(*flight) bool, make func() *flight) (*flight, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, other := range t.flights[key] {
		if other.shared && fits(other) {
			return other, false
		}
	}
	f := make()
	t.put(f)
	return f, true
}

// add adds a flight that nobody joins.
func (t *flightTable) add(f *flight) *flight {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(f)
	return f
}

// put is add; the table is locked.
func (t *flightTable) put(f *flight) {
	if t.flights == nil {
		t.flights = map[string][]*flight{}
	}
	t.flights[f.key] = append(t.flights[f.key], f)
}

// land takes f out.
func (t *flightTable) land(f *flight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.flights[f.key]
	for i, other := range list {
		if other != f {
			continue
		}
		t.landed.Add(1)
		if len(list) == 1 {
			delete(t.flights, f.key)
		} else {
			rest := make([]*flight, 0, len(list)-1)
			t.flights[f.key] = append(append(rest, list[:i]...), list[i+1:]...)
		}
		return
	}
}

// under returns the flights whose keys are meant.
func (t *flightTable) under(meant func(key string) bool) (all []*flight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, list := range t.flights {
		if meant(key) {
			all = append(all, list...)
		}
	}
	return all
}

// ground keeps flights from storing, since what they fetch may be older than
// what made it out of date. Nobody joins them any more.
func (t *flightTable) ground(all ...*flight) {
	for _, f := range all {
		f.storing.Lock()
		f.purged = true
		f.storing.Unlock()
		t.land(f)
	}
}

// groundKey grounds those of one key.
func (t *flightTable) groundKey(key string) {
	t.mu.Lock()
	all := t.flights[key]
	t.mu.Unlock()
	t.ground(all...)
}

// groundTags grounds those whose answers carry one of the surrogate keys. Before
// its head is in, nobody knows what an answer carries, so the flight remembers
// what was purged; so does one with a part, which may be added to what carries
// more.
func (t *flightTable) groundTags(tags []string) {
	for _, f := range t.under(func(string) bool { return true }) {
		f.storing.Lock()
		if !f.isDecided() || f.status == http.StatusPartialContent {
			f.purges = append(f.purges, tags)
		}
		gone := rfc9111.Carries(f.tags, tags)
		f.storing.Unlock()
		if gone {
			t.ground(f)
		}
	}
}

// carry notes the surrogate keys of the answer, and reports whether one of them
// was purged since it was asked for.
func (f *flight) carry(tags []string) bool {
	f.storing.Lock()
	defer f.storing.Unlock()
	f.tags = tags
	return f.tagPurged(tags)
}

// tagPurged reports whether one of the surrogate keys was purged since the
// answer was asked for; f.storing is held.
func (f *flight) tagPurged(tags []string) bool {
	return slices.ContainsFunc(f.purges, func(purged []string) bool { return rfc9111.Carries(tags, purged) })
}

// outOfDate reports whether what is fetched for a stored response with these
// surrogate keys may be older than a purge; f.storing is held.
func (f *flight) outOfDate(tags []string) bool { return f.purged || f.tagPurged(tags) }

// likelyFor reports whether the answer is for a request too, if Vary is going to
// say what it said before.
func (f *flight) likelyFor(v *visit) bool {
	return f.place == v.told && v.c.policy.Matches(f.vary, f.values, v.r)
}

// serves reports whether a stored response is for what the flight asks.
func (f *flight) serves(m *store.Meta) bool { return f.c.policy.Serves(m, f.asked, f.place) }

// enter adds a client that wants the answer. It is false if the flight was ended
// because nobody did, though it may take its time.
func (f *flight) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out.Context().Err() != nil {
		return false
	}
	f.interested++
	if f.lingering != nil {
		f.lingering.Stop()
		f.lingering = nil
	}
	return true
}

// leaves takes one away. The last one leaves the fetch to the cache, for a
// while.
func (f *flight) leaves() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.interested--
	if f.interested == 0 {
		f.linger()
	}
}

// linger lets the flight go on for a while without a client; f.mu is held.
func (f *flight) linger() {
	select {
	case <-f.ended:
		return
	default:
	}
	if f.c.Linger < 0 && !f.behind || f.c.closing.Err() != nil {
		f.cancel()
		return
	}
	f.lingering = time.AfterFunc(f.c.lingers(), f.cancelIfIdle)
}

// lingers is how long what is not ended at once goes on.
func (c *Cache) lingers() time.Duration {
	if c.Linger > 0 {
		return c.Linger
	}
	return time.Minute
}

// cancelIfIdle ends a flight that no client waits for.
func (f *flight) cancelIfIdle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.interested == 0 {
		f.cancel()
	}
}

// isDecided reports whether the head is in.
func (f *flight) isDecided() bool {
	select {
	case <-f.decided:
		return true
	default:
		return false
	}
}

// decide tells all who wait what became of the flight.
func (f *flight) decide(o outcome) {
	f.outcome = o
	if o != outcomeStored {
		f.c.flights.land(f)
	}
	close(f.decided)
}
