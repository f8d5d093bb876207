package access

import (
	"container/list"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
)

const (
	defaultCacheTTL   = 5 * time.Minute
	defaultMaxWaiting = 128
	maxKnown          = 4096
)

var errManyPasswords = errors.New("too many passwords wait to be verified")

// passwords decides about passwords, which takes long by design. It remembers
// those that were right, verifies one for all who come with it at the same
// time, and lets a bounded number wait: guesses take neither all processors,
// nor the memory, nor the time of those who have been here before.
type passwords struct {
	once sync.Once
	key  [32]byte // of the digests

	mu     sync.Mutex               // guards the rest
	era    int                      // how often all was forgotten
	known  map[uint64]knownPassword // by the beginning of its digest
	checks map[passwordDigest]*passwordCheck
	busy   int          // checks that verify
	line   [2]list.List // of chan struct{}: those who wait, the ones known before in the first
}

type passwordDigest [sha256.Size]byte

// knownPassword was right. Once its time is over, it still goes before others.
type knownPassword struct {
	digest passwordDigest
	until  time.Time
}

// passwordCheck is a password on its way to be verified.
type passwordCheck struct {
	ctx    context.Context // ends when nobody asks any more
	cancel context.CancelFunc
	asking int           // guarded by the lock of passwords
	done   chan struct{} // closed when the rest is set

	good     bool
	err      error
	panicked any
}

// digest is one of a user's password and of what it depends on. Names have no
// colon, and no text has a NUL.
func (p *passwords) digest(user, password, stamp string) (d passwordDigest) {
	p.once.Do(func() { _, _ = rand.Read(p.key[:]) }) // never fails
	m := hmac.New(sha256.New, p.key[:])
	m.Write([]byte(user + ":" + password + "\x00" + stamp))
	m.Sum(d[:0])
	return d
}

func (d *passwordDigest) start() uint64 { return binary.NativeEndian.Uint64(d[:]) }

// good reports whether a password is right, as it is remembered or as verify
// says. Of those that nobody knows, most may wait.
func (p *passwords) good(ctx context.Context, d passwordDigest, ttl time.Duration, most int, verify func(ctx context.Context) (bool, error)) (bool, error) {
	p.mu.Lock()
	k, ok := p.known[d.start()]
	before := ok && hmac.Equal(k.digest[:], d[:])
	if before && ttl > 0 && time.Now().Before(k.until) {
		p.mu.Unlock()
		return true, nil
	}
	c := p.checks[d]
	if c == nil {
		turn, ok := p.enter(before, most)
		if !ok {
			p.mu.Unlock()
			return false, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"1"}}, Err: errManyPasswords}
		}
		c = &passwordCheck{done: make(chan struct{})}
		c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
		if p.checks == nil {
			p.checks = make(map[passwordDigest]*passwordCheck)
		}
		p.checks[d] = c
		go p.run(c, d, ttl, turn, p.era, verify)
	}
	c.asking++
	p.mu.Unlock()
	select {
	case <-c.done:
	case <-ctx.Done():
		p.leave(c, d)
		return false, exchange.EndError(ctx, &exchange.Error{Op: exchange.OpRequest}, true, nil)
	}
	if c.panicked != nil {
		panic(c.panicked) // to the one who serves the request, as if it had called
	}
	return c.good, c.err
}

// leave is for one who asks no more.
func (p *passwords) leave(c *passwordCheck, d passwordDigest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.asking--; c.asking == 0 {
		c.cancel()
		p.forget(c, d)
	}
}

// forget lets the next who comes with the password begin anew. The caller holds
// the lock.
func (p *passwords) forget(c *passwordCheck, d passwordDigest) {
	if p.checks[d] == c {
		delete(p.checks, d)
	}
}

// run verifies a password when it is its turn.
func (p *passwords) run(c *passwordCheck, d passwordDigest, ttl time.Duration, turn *list.Element, era int, verify func(ctx context.Context) (bool, error)) {
	defer func() {
		c.panicked = recover()
		p.mu.Lock()
		p.forget(c, d)
		switch {
		case era != p.era:
		case c.good && ttl > 0:
			p.remember(d, ttl)
		case !c.good && c.err == nil && c.panicked == nil:
			delete(p.known, d.start()) // it is right no more
		}
		p.mu.Unlock()
		close(c.done)
		c.cancel()
	}()
	if !p.await(c.ctx, turn) {
		c.err = context.Cause(c.ctx)
		return
	}
	defer p.exit()
	good, err := verify(c.ctx)
	c.good, c.err = good && err == nil, err
}

// enter begins to verify, or takes a place in line: nil for the former. The
// caller holds the lock.
func (p *passwords) enter(before bool, most int) (turn *list.Element, ok bool) {
	switch {
	case p.busy < runtime.GOMAXPROCS(0):
		p.busy++
		return nil, true
	case before: // there are no more of these than are remembered
		return p.line[0].PushBack(make(chan struct{})), true
	case p.line[1].Len() >= most:
		return nil, false
	}
	return p.line[1].PushBack(make(chan struct{})), true
}

// await waits for the turn, and reports whether it came.
func (p *passwords) await(ctx context.Context, turn *list.Element) bool {
	if turn == nil {
		return true
	}
	came := turn.Value.(chan struct{})
	select {
	case <-came:
	case <-ctx.Done():
	}
	if ctx.Err() == nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-came: // for nobody: another can use it
		p.next()
	default:
		p.line[0].Remove(turn) // of the one list that it is in
		p.line[1].Remove(turn)
	}
	return false
}

// exit ends what enter or await began.
func (p *passwords) exit() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next()
}

// next gives a place to the next in line. The caller holds the lock.
func (p *passwords) next() {
	for i := range p.line {
		if e := p.line[i].Front(); e != nil {
			close(p.line[i].Remove(e).(chan struct{}))
			return
		}
	}
	p.busy--
}

// remember notes that a password was right. The caller holds the lock.
func (p *passwords) remember(d passwordDigest, ttl time.Duration) {
	now := time.Now()
	if len(p.known) >= maxKnown {
		for at, k := range p.known {
			if now.After(k.until) {
				delete(p.known, at)
			}
		}
	}
	if len(p.known) >= maxKnown {
		clear(p.known)
	}
	if p.known == nil {
		p.known = make(map[uint64]knownPassword)
	}
	p.known[d.start()] = knownPassword{d, now.Add(ttl)}
}

// forgetAll has all passwords verified again, those too that are on their way.
func (p *passwords) forgetAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.era++
	clear(p.known)
	clear(p.checks)
}
