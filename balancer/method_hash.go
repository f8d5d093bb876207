package balancer

import (
	"math"
	"net"
	"net/http"
	"net/netip"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// Hash sends requests with the same key to the same member, by weighted
// rendezvous hashing: each member's score is computed from the key and the
// member's name, and the best is chosen. When a member comes or goes, only its
// own keys move. All proxies with the same members agree. It costs one
// logarithm for each member.
//
// Load is bounded: a member with more than MaxLoad times its fair share of the
// requests in flight is passed over, so that one key cannot drown it. The zero
// value hashes client addresses.
type Hash struct {
	// Key takes the key out of a request. If nil, [ClientAddr]. Requests for
	// which it returns "" are spread by requests.
	Key func(r *http.Request) string

	// MaxLoad is how many times its fair share of the requests in flight a
	// member may have. Zero means 1.25; less than 1, or not a number,
	// means no bound.
	MaxLoad float64

	rest ByRequests
}

// ClientAddr is the key of a client's address, without its port.
func ClientAddr(r *http.Request) string {
	f := exchange.FactsOf(r, nil)
	if addr, err := netip.ParseAddr(f.ClientIP()); err == nil {
		return addr.Unmap().String()
	}
	if host, _, err := net.SplitHostPort(f.Client); err == nil {
		return host
	}
	return f.Client
}

// ByHeader returns a function for the key in a header field.
func ByHeader(name string) func(*http.Request) string {
	name = http.CanonicalHeaderKey(name)
	return func(r *http.Request) string { return r.Header.Get(name) }
}

// ByCookie returns a function for the key in a cookie.
func ByCookie(name string) func(*http.Request) string {
	return func(r *http.Request) string {
		value := ""
		eachCookie(r.Header, name, func(v string) bool {
			value = v
			return false
		})
		return value
	}
}

// ByURL is the key of a request's path and query.
func ByURL(r *http.Request) string {
	if r.URL.RawQuery == "" {
		return r.URL.EscapedPath()
	}
	return r.URL.EscapedPath() + "?" + r.URL.RawQuery
}

// Pick implements [Method].
func (h *Hash) Pick(r *http.Request, usable []*Member) *Member {
	key := h.Key
	if key == nil {
		key = ClientAddr
	}
	k := key(r)
	if k == "" {
		return h.rest.Pick(r, usable)
	}
	limit := h.MaxLoad
	if limit == 0 {
		limit = 1.25
	}
	var busy, factors int64
	for _, m := range usable {
		busy += m.Busy()
		factors += int64(m.Factor())
	}
	share := limit * float64(busy+1) / float64(factors) // of a factor of 0.01
	sum := fnv1a(k)
	var best, any *Member
	high, highest := math.Inf(-1), math.Inf(-1)
	for _, m := range usable {
		factor := float64(m.Factor())
		s := score(sum, m.ID(), factor)
		if s > highest {
			any, highest = m, s
		}
		if s > high && (!(limit >= 1) || float64(m.Busy()) < math.Ceil(share*factor)) {
			best, high = m, s
		}
	}
	if best == nil {
		return any
	}
	return best
}

// score is weighted rendezvous hashing's: -factor / ln(u) with u uniform in
// (0, 1).
func score(key, member uint64, factor float64) float64 {
	u := (float64(mix(key^member)>>11) + 0.5) / (1 << 53)
	return -factor / math.Log(u)
}

// mix is the finalizer of splitmix64: every bit of x changes half of the
// result.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// fnv1a is the 64-bit hash of that name, the same in every process.
func fnv1a(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// String returns the method's name.
func (h *Hash) String() string { return "hash" }
