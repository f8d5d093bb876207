package balancer

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Resolver looks names up; a *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
}

// DNS finds members by the addresses (A and AAAA records) of one name.
type DNS struct {
	// Host is the name. It is sent as Host to members, and verified in their
	// certificates.
	Host string

	// Scheme of the members' URLs. Empty means "http".
	Scheme string

	// Port of the members. Zero means the default of the scheme; what is no port
	// is an error of Discover.
	Port int

	// Network is "ip4" or "ip6" for addresses of that kind alone. Empty means
	// both.
	Network string

	// Member is what all members have in common. Its Name and URL are not
	// used; a Path of the URL belongs in it, as in "http://any/app".
	Member MemberConfig

	// Valid is how long an answer is believed. The resolver does not tell the
	// TTL of records. Zero or less means the balancer's DiscoveryInterval.
	Valid time.Duration

	// Resolver looks up. If nil, net.DefaultResolver.
	Resolver Resolver
}

// Discover implements [Discovery].
func (d *DNS) Discover(ctx context.Context) ([]MemberConfig, time.Duration, error) {
	if d.Port < 0 || d.Port > 65535 {
		return nil, 0, fmt.Errorf("balancer: DNS: %d is no port", d.Port)
	}
	network := d.Network
	if network == "" {
		network = "ip"
	}
	addrs, err := resolver(d.Resolver).LookupNetIP(ctx, network, d.Host)
	if err != nil {
		return nil, 0, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	// In an order of their own: resolvers rotate answers.
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	list := make([]MemberConfig, 0, len(addrs))
	for _, a := range addrs {
		list = append(list, at(d.Member, d.Scheme, a.String(), d.Port, d.Host))
	}
	return list, d.Valid, nil
}

// SRV finds members by the SRV records of a service (RFC 2782). Each priority
// is a set of its own, weights become load factors.
type SRV struct {
	// Service, Proto and Name make the name _Service._Proto.Name; with the
	// first two empty, Name is looked up as it is.
	Service, Proto, Name string

	// Scheme, Member, Valid and Resolver are those of [DNS].
	Scheme   string
	Member   MemberConfig
	Valid    time.Duration
	Resolver Resolver
}

// Discover implements [Discovery].
func (d *SRV) Discover(ctx context.Context) ([]MemberConfig, time.Duration, error) {
	_, records, err := resolver(d.Resolver).LookupSRV(ctx, d.Service, d.Proto, d.Name)
	if err != nil {
		return nil, 0, err
	}
	records = slices.DeleteFunc(slices.Clone(records), func(r *net.SRV) bool { return r.Target == "." || r.Target == "" })
	slices.SortFunc(records, func(a, b *net.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), strings.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	})
	records = slices.CompactFunc(records, func(a, b *net.SRV) bool { return a.Target == b.Target && a.Port == b.Port })
	var heaviest uint16
	for _, r := range records {
		heaviest = max(heaviest, r.Weight)
	}
	list := make([]MemberConfig, 0, len(records))
	set := -1
	for i, r := range records {
		if i == 0 || r.Priority != records[i-1].Priority {
			set = min(set+1, 99)
		}
		host := strings.TrimSuffix(r.Target, ".")
		c := at(d.Member, d.Scheme, host, int(r.Port), "")
		c.LBSet = set
		if heaviest > 0 {
			c.LoadFactor = max(float64(r.Weight)*100/float64(heaviest), 1)
		}
		list = append(list, c)
	}
	return list, d.Valid, nil
}

func resolver(r Resolver) Resolver {
	if r == nil {
		return net.DefaultResolver
	}
	return r
}

// at is the member at a host.
func at(common MemberConfig, scheme, host string, port int, name string) MemberConfig {
	if scheme == "" {
		scheme = "http"
	}
	path := ""
	if _, rest, ok := strings.Cut(common.URL, "://"); ok {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			path = rest[i:]
		}
	}
	if port != 0 {
		host = net.JoinHostPort(host, strconv.Itoa(port))
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	c := common
	c.Name, c.URL = "", scheme+"://"+host+path
	if c.Host == "" {
		c.Host = name
	}
	return c
}
