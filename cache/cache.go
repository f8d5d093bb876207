package cache

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/cache/internal/rfc9111"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy"
)

// Cache is a shared cache. Set the fields before the first request and leave
// them alone afterwards; each is optional. The zero value is a cache of 64 MiB
// in memory that keeps RFC 9111 to the letter; each departure from it is a
// field, named as in Apache.
//
// One Cache may be put around several handlers, also one within another: a request
// that it has sent on, and that comes to it again for the same, passes it by.
// Several Caches may use one Store, if they have the same rules.
type Cache struct {
	// Store keeps the responses. If nil, a [memory.Store] of the cache's own.
	// Apache: CacheEnable disk, CacheEnable socache.
	Store store.Store

	// Bypass reports whether a request passes the cache by: it is neither
	// answered from it nor is its answer stored. A request that changes things
	// still invalidates. If nil, none does. Apache: CacheDisable, no-cache in
	// the environment.
	Bypass func(*http.Request) bool

	// Key returns the cache key of a request, in place of its URI. What the
	// answer depends on must be in the key, in Vary, or be the same for all:
	// else one user gets what was meant for another. If nil, the scheme of the
	// connection (of the URL, before a [proxy.Forward] and for a RoundTripper),
	// the host in lower case without a default port, and path and query byte for
	// byte. The origin gets the host in that form, too.
	Key func(*http.Request) string

	// KeyBaseURL takes the place of scheme and host in keys, for a site that
	// has several names. By which of them it was asked for must then make no
	// difference to an answer. Apache: CacheKeyBaseURL.
	KeyBaseURL *url.URL

	// TrustedProxies are the peers whose X-Forwarded-Proto and X-Forwarded-Host
	// are scheme and host of keys, as they are to all that is further in
	// ([exchange.Facts]). Peers that a door such as [access.RemoteIP] trusts are
	// among them. What others say in them, and in Forwarded, tells responses
	// apart as Vary does: nobody gets what the origin has made of another's words.
	TrustedProxies []netip.Prefix

	// IgnoreQueryString leaves the query out of keys: all queries of a path
	// share one answer. Apache: CacheIgnoreQueryString.
	IgnoreQueryString bool

	// IgnoreURLSessionIdentifiers are names whose parameters are left out of
	// keys: ";name=…" at the end of the path, "name=…" in the query. Apache:
	// CacheIgnoreURLSessionIdentifiers.
	IgnoreURLSessionIdentifiers []string

	// MaxFileSize is the largest body that is stored, in bytes; of one whose
	// length is not known, storing is given up when it gets there. Zero or less leaves
	// it to the Store. Apache: CacheMaxFileSize, there 1000000 by default.
	MaxFileSize int64

	// MinFileSize is the smallest body that is stored, in bytes. Apache:
	// CacheMinFileSize, there 1 by default.
	MinFileSize int64

	// MaxVariants is how many responses that Vary, or what the origin was told of
	// the place, tells apart are kept under
	// one key; the one that was not used for longest gives way. Zero or less means 64.
	MaxVariants int

	// DefaultExpire is the lifetime of responses that tell none and have no
	// Last-Modified to guess by. Zero or less: they are validated each time. Apache:
	// CacheDefaultExpire, there 3600 s by default.
	DefaultExpire time.Duration

	// MinExpire is the least lifetime of responses that do not tell theirs.
	// Apache: CacheMinExpire.
	MinExpire time.Duration

	// MaxExpire is the largest lifetime. Zero or less sets no limit. Apache:
	// CacheMaxExpire, there 86400 s by default.
	MaxExpire time.Duration

	// LastModifiedFactor is the share of the time since Last-Modified that a
	// response without a lifetime of its own is taken to be fresh for. Zero
	// means 0.1; negative, or not a number, switches guessing off. Apache:
	// CacheLastModifiedFactor.
	LastModifiedFactor float64

	// HeuristicMax limits what LastModifiedFactor gives. Zero means 24 hours;
	// negative means no limit.
	HeuristicMax time.Duration

	// StatusTTL is the lifetime of answers with some status that tell none,
	// also of such as are not cacheable by default: negative caching.
	StatusTTL map[int]time.Duration

	// TTL, if not nil, is asked for the lifetime of each answer that may be
	// stored; what it returns with true takes the place of the answer's own.
	TTL func(r *http.Request, status int, h http.Header) (time.Duration, bool)

	// StaleWhileRevalidate and StaleIfError are windows for responses that do
	// not tell theirs: RFC 5861. Zero or less adds none.
	StaleWhileRevalidate, StaleIfError time.Duration

	// StaleBeyondSMaxAge lets the windows that a response tells count beside
	// s-maxage, as many of those who send both mean it, although s-maxage
	// forbids stale answers: RFC 9111 section 5.2.2.10.
	StaleBeyondSMaxAge bool

	// NoStaleOnError passes a server error on although something stale is
	// stored that nothing forbids to be sent. The windows of stale-if-error
	// count nevertheless. Apache: CacheStaleOnError off.
	NoStaleOnError bool

	// IgnoreCacheControl takes no notice of no-cache and no-store, in
	// Cache-Control and Pragma of requests. Apache: CacheIgnoreCacheControl.
	IgnoreCacheControl bool

	// IgnoreNoLastMod stores responses that have neither lifetime nor
	// validator; DefaultExpire then applies. Apache: CacheIgnoreNoLastMod.
	IgnoreNoLastMod bool

	// IgnoreHeaders are fields that are not stored. Apache: CacheIgnoreHeaders.
	IgnoreHeaders []string

	// StoreNoStore stores in spite of no-store in the response. Apache:
	// CacheStoreNoStore.
	StoreNoStore bool

	// StorePrivate stores in spite of private: one user may get what was meant
	// for another. Apache: CacheStorePrivate.
	StorePrivate bool

	// StoreExpired stores what is stale at once and cannot be validated.
	// Apache: CacheStoreExpired.
	StoreExpired bool

	// StoreSetCookie stores responses that set cookies even where neither
	// public nor s-maxage says that they are for all.
	StoreSetCookie bool

	// QueryNeedsExpiry stores a response to a URL with a query only if it tells
	// its lifetime, as Apache always does.
	QueryNeedsExpiry bool

	// TargetedFields are the fields that count before Cache-Control, the most
	// wanted first: RFC 9213. If nil, CDN-Cache-Control; an empty list means
	// none.
	TargetedFields []string

	// NormalizeEncoding are content codings, the most wanted first, by which
	// variants of Vary: Accept-Encoding are told apart: clients that take the
	// same first one of them share an answer. Empty compares the field's
	// words.
	NormalizeEncoding []string

	// Collapse is what requests do that want the same as one that is under way.
	// Zero means [CollapseStream]: they share its answer if it turns out that
	// they may.
	Collapse Collapse

	// LockMaxAge is how long a request that is under way keeps others waiting
	// for its head under CollapseStream, and away from the origin under
	// CollapseLock. Zero or less means 5 s for CollapseLock and no limit for
	// CollapseStream. Apache: CacheLockMaxAge.
	LockMaxAge time.Duration

	// LockPath is a directory for lock files, by which processes that share a
	// disk store keep away from the origin under CollapseLock. Empty means that
	// locks are this process's own. Apache: CacheLockPath.
	LockPath string

	// Linger is how long a fetch whose clients have all left goes on, so that
	// its answer can be stored. Zero means a minute; negative ends it at once,
	// but leaves a validation in the background that minute.
	Linger time.Duration

	// Client says how long clients that do not read may keep an answer waiting
	// that Wrap gives them. If nil, what the zero [proxy.ClientLimits] say: 60 s
	// for each wait.
	Client *proxy.ClientLimits

	// BackgroundContext makes the context of a validation in the background
	// from that of the request which caused it, before that is answered. If
	// nil, it is the request's without its end, as by [exchange.Detached], which
	// has been applied already. It is for values that must not be used by two at
	// once.
	BackgroundContext func(context.Context) context.Context

	// ReadSize and ReadTime hold the body of an answer that is being fetched
	// back until that many bytes are there, or that time has passed. Zero or less
	// sends 	// what is there. Apache: CacheReadSize, CacheReadTime.
	ReadSize int64
	ReadTime time.Duration

	// ServerName is the name of this server in X-Cache and X-Cache-Detail.
	// Empty means the request's Host. Apache: ServerName.
	ServerName string

	// Header adds X-Cache to answers: HIT, REVALIDATE, MISS or INVALIDATE.
	// HeaderFunc, if not nil, decides in its place for each request. Apache:
	// CacheHeader.
	Header     bool
	HeaderFunc func(*http.Request) bool

	// DetailHeader adds X-Cache-Detail: the reason in words. DetailHeaderFunc
	// decides in its place. Apache: CacheDetailHeader.
	DetailHeader     bool
	DetailHeaderFunc func(*http.Request) bool

	// CacheStatus is the name of this cache in the field Cache-Status, RFC
	// 9211. Empty sends none.
	CacheStatus string

	// OnResult, if not nil, is told what the cache did with each request when
	// it is about to be answered. It must not keep the Result.
	OnResult func(*http.Request, *Result)

	// Logger gets failures of the Store, one line until it works again, at
	// level Error, and that it does at Info, with the sums of what has failed
	// meanwhile. If nil, nothing is logged.
	Logger *slog.Logger

	once     sync.Once
	closing  context.Context // ends what runs in the background
	close    context.CancelFunc
	tasks    sync.WaitGroup // what runs in the background
	policy   rfc9111.Policy
	store    store.Store
	client   *proxy.ClientLimits
	flights  flightTable
	alone    loners
	locks    locks
	counters counters
	health   storeHealth

	wrapped, transported atomic.Bool // there is a Handler, a RoundTripper
}

// Collapse is what becomes of requests for the same while one is under way.
type Collapse uint8

const (
	// CollapseStream lets them wait for the head of its answer. If that may be
	// stored and used for them, they read the body while it comes in; else each
	// goes to the origin by itself.
	CollapseStream Collapse = iota

	// CollapseLock is Apache's CacheLock: while one request fetches, the others
	// get what is stored, stale as it is, or else go to the origin too, and
	// only the first one's answer is stored.
	CollapseLock

	// CollapseOff sends every request to the origin that cannot be answered.
	CollapseOff
)

// setup brings the fields into the form in which they are used.
func (c *Cache) setup() {
	c.once.Do(func() {
		c.closing, c.close = context.WithCancel(context.Background())
		targets := c.TargetedFields
		if targets == nil {
			targets = []string{"CDN-Cache-Control"}
		}
		c.policy = rfc9111.Policy{
			StoreNoStore:         c.StoreNoStore,
			StorePrivate:         c.StorePrivate,
			StoreExpired:         c.StoreExpired,
			StoreSetCookie:       c.StoreSetCookie,
			IgnoreNoLastMod:      c.IgnoreNoLastMod,
			IgnoreCacheControl:   c.IgnoreCacheControl,
			QueryNeedsExpiry:     c.QueryNeedsExpiry,
			StaleOnError:         !c.NoStaleOnError,
			StaleBeyondSMaxAge:   c.StaleBeyondSMaxAge,
			DefaultExpire:        c.DefaultExpire,
			MinExpire:            c.MinExpire,
			MaxExpire:            c.MaxExpire,
			LastModifiedFactor:   c.LastModifiedFactor,
			HeuristicMax:         c.HeuristicMax,
			StaleWhileRevalidate: c.StaleWhileRevalidate,
			StaleIfError:         c.StaleIfError,
			Targets:              canonical(targets),
			IgnoreHeaders:        canonical(c.IgnoreHeaders),
			NormalizeEncoding:    c.NormalizeEncoding,
		}
		if c.store = c.Store; c.store == nil {
			c.store = &memory.Store{}
		}
		if c.client = c.Client; c.client == nil {
			c.client = &proxy.ClientLimits{}
		}
	})
}

func canonical(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = textproto.CanonicalMIMEHeaderKey(name)
	}
	return out
}

// Wrap puts the cache around next. Before authentication it is what Apache
// calls a quick handler: it answers without asking whether the client may have
// that. Behind it, only those get an answer who would get one from next. Apache:
// CacheQuickHandler.
func (c *Cache) Wrap(next http.Handler) http.Handler {
	c.setup()
	_, forward := next.(*proxy.Forward)
	return c.wrap(next, forward)
}

// WrapForward is Wrap for what has a forward proxy in it. An absolute target is
// then the key, scheme and all, and not another form of this server's own place
// of that name. Wrap itself does the same if next is a [proxy.Forward].
func (c *Cache) WrapForward(next http.Handler) http.Handler {
	c.setup()
	return c.wrap(next, true)
}

func (c *Cache) wrap(next http.Handler, forward bool) http.Handler {
	c.wrapped.Store(true)
	return c.client.Wrap(&handler{c, next, forward})
}

// Transport puts the cache around next: answers to GET come from the cache
// where they may. If next is nil, http.DefaultTransport.
func (c *Cache) Transport(next http.RoundTripper) http.RoundTripper {
	c.setup()
	if next == nil {
		next = http.DefaultTransport
	}
	c.transported.Store(true)
	return &transport{c, next}
}

// Close ends validation in the background and waits for it. The cache answers
// on, but begins none any more. It does not close the Store.
func (c *Cache) Close() {
	c.setup()
	c.close()
	c.tasks.Wait()
}
