package access

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// privateForms are spellings of places inside, that a forward proxy must not
// reach unless it is told to.
var privateForms = []string{
	"127.0.0.1", "127.8.9.10", "0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
	"192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
	"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:a9fe:a9fe]", "[::ffff:8.8.8.8]", "[::127.0.0.1]", "[::7f00:1]",
	"[64:ff9b::7f00:1]", "[64:ff9b::10.0.0.1]", "[64:ff9b:1::1]", "[100::1]", "[2001::1]", "[2001:db8::1]", "[2001:10::1]", "[2001:20::1]",
	"[2002:7f00:1::]", "[2002:a00:1::1]", "[3fff::1]", "[5f00::1]", "[fc00::1]", "[fd12:3456::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[4000::1]",
}

// crookedForms are what some resolvers take for an address.
var crookedForms = []string{
	"2130706433", "017700000001", "0x7f000001", "0x7F.1", "0x7f.0.0.1", "127.1", "127.0.1", "0177.0.0.1", "127.0.0.01", "127.0.0.1.0", "1", "0x",
	"127.0.0.0x1", "[127.0.0.1]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1", "::1]", "[]", "", "%31%32%37.0.0.1", "127。0。0。1", "１２７.0.0.1",
	"a..b", ".a", "a_b c", "a/b", "user@host", "[v1.x]", strings.Repeat("a", 254),
}

func TestAuthority(t *testing.T) {
	for in, want := range map[string]string{
		"Example.COM:443": "example.com", "example.com.:1": "example.com", "1.2.3.4:65535": "1.2.3.4", "[2001:DB8:0::1]:443": "2001:db8::1",
		"a_b-c.x9:443": "a_b-c.x9", "xn--bcher-kva.example:443": "xn--bcher-kva.example", "0xy.z:1": "0xy.z", "1.a:1": "1.a", "[::ffff:1.2.3.4]:1": "::ffff:1.2.3.4",
	} {
		host, port, err := ParseAuthority(in)
		require.NoError(t, err, in)
		require.Equal(t, want, host)
		require.NotZero(t, port)
	}
	for _, in := range []string{"", ":", ":443", "a", "a:", "a:0", "a:65536", "a:-1", "a:+1", "a:4 3", "a:0x1", "a:000443", "a:443:443", "[::1]", "::1:443", "a:443/", "http://a:443", "a:https"} {
		_, _, err := ParseAuthority(in)
		require.Equal(t, 400, exchange.StatusOf(err), in)
	}
	for _, host := range crookedForms {
		_, _, err := ParseAuthority(host + ":443")
		require.Error(t, err, host)
		require.Equal(t, 400, exchange.StatusOf(err), host)
	}
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	d := &Destinations{Dial: func(_ context.Context, _, address string) (net.Conn, error) {
		t.Errorf("%s was dialled", address)
		return nil, errors.New("no")
	}}
	for _, form := range privateForms {
		_, err := d.DialContext(context.Background(), "tcp", form+":80")
		require.ErrorIs(t, err, exchange.ErrForbidden, form)
		require.Equal(t, 403, exchange.StatusOf(err))
		// The same address as the answer of a resolver.
		addr := netip.MustParseAddr(strings.Trim(form, "[]"))
		if form == "[::ffff:8.8.8.8]" {
			continue // is how resolvers write 8.8.8.8
		}
		d.Lookup = func(context.Context, string, string) ([]netip.Addr, error) { return []netip.Addr{addr}, nil }
		_, err = d.DialContext(context.Background(), "tcp", "inside.test:80")
		require.ErrorIs(t, err, exchange.ErrForbidden, form)
	}
	d.Lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("::1%1")}, nil
	}
	_, err := d.DialContext(context.Background(), "tcp", "inside.test:80")
	require.ErrorIs(t, err, exchange.ErrForbidden)
	d.Lookup = nil
	_, err = d.DialContext(context.Background(), "tcp", "localhost:80")
	require.ErrorIs(t, err, exchange.ErrForbidden)
}

func TestDestinations(t *testing.T) {
	ports, err := ParsePorts("443", "8000-8002")
	require.NoError(t, err)
	networks := func(s ...string) []netip.Prefix {
		p, err := ParsePrefixes(s...)
		require.NoError(t, err)
		return p
	}
	for name, tc := range map[string]struct {
		d        *Destinations
		yes, no  []string
		resolves string
	}{
		"nil":          {nil, []string{"a.test:1", "8.8.8.8:53", "[2606:4700::1]:443", "[64:ff9b::8.8.8.8]:1", "[2002:808:808::1]:1"}, []string{"127.0.0.1:1"}, ""},
		"ports":        {&Destinations{Ports: ports}, []string{"a.test:443", "a.test:8000", "a.test:8002"}, []string{"a.test:442", "a.test:444", "a.test:7999", "a.test:8003"}, ""},
		"only hosts":   {&Destinations{AllowHosts: []string{"A.test", ".b.test", "*.c.test", "9.9.9.9", "2606:4700::1"}}, []string{"a.TEST:1", "a.test.:1", "x.b.test:1", "x.y.c.test:1", "9.9.9.9:1", "[2606:4700:0::1]:1"}, []string{"b.test:1", "x.a.test:1", "xb.test:1", "8.8.8.8:1"}, ""},
		"denied hosts": {&Destinations{AllowHosts: []string{"*"}, DenyHosts: []string{".b.test", "a.test"}}, []string{"b.test:1", "ab.test:1"}, []string{"x.b.test:1", "A.test.:1"}, ""},
		"blocked":      {&Destinations{Block: []string{"Bad"}}, []string{"good.test:1"}, []string{"bad.test:1", "x.veryBADly.test:1"}, ""},
		"blocked all":  {&Destinations{Block: []string{"*"}}, nil, []string{"good.test:1", "8.8.8.8:1"}, ""},
		"exceptions":   {&Destinations{AllowAddrs: networks("10.0.0.0/8", "::1/128"), DenyAddrs: networks("10.9.0.0/16", "8.8.0.0/16")}, []string{"10.1.2.3:1", "[::1]:1", "[::ffff:10.1.2.3]:1"}, []string{"10.9.1.1:1", "[::ffff:10.9.1.1]:1", "8.8.8.8:1", "[64:ff9b::8.8.8.8]:1", "127.0.0.1:1", "192.168.0.1:1"}, ""},
		"private":      {&Destinations{AllowPrivate: true, DenyAddrs: networks("169.254.0.0/16")}, []string{"127.0.0.1:1", "[::ffff:10.0.0.1]:1", "[fe80::1]:1"}, []string{"169.254.169.254:1", "[64:ff9b::a9fe:a9fe]:1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			check := func(address string) error {
				host, port, err := ParseAuthority(address)
				require.NoError(t, err)
				return tc.d.Check(host, port)
			}
			for _, a := range tc.yes {
				require.NoError(t, check(a), a)
			}
			for _, a := range tc.no {
				require.ErrorIs(t, check(a), exchange.ErrForbidden, a)
			}
		})
	}
}

func TestParsePorts(t *testing.T) {
	for _, bad := range []string{"", "x", "0", "65536", "2-1", "1-", "-1", "1-2-3", "1 2", "+1"} {
		_, err := ParsePorts("443", bad)
		require.Error(t, err, bad)
	}
}

// TestWhatIsCheckedIsDialled: a name that resolves to an inner address a moment
// after it was checked gains nothing, for it is resolved once.
func TestWhatIsCheckedIsDialled(t *testing.T) {
	lookups := 0
	var dialled []string
	d := &Destinations{
		Lookup: func(_ context.Context, network, host string) ([]netip.Addr, error) {
			require.Equal(t, "ip rebind.test", network+" "+host)
			if lookups++; lookups == 1 {
				return []netip.Addr{netip.MustParseAddr("::ffff:8.8.8.8")}, nil
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			return nil, errors.New("no network here")
		},
	}
	_, err := d.DialContext(context.Background(), "tcp", "Rebind.test:443")
	require.ErrorContains(t, err, "no network here")
	require.Equal(t, []string{"8.8.8.8:443"}, dialled)
	require.Equal(t, 1, lookups)
	_, err = d.DialContext(context.Background(), "tcp", "rebind.test:443")
	require.ErrorIs(t, err, exchange.ErrForbidden)
	require.Len(t, dialled, 1)
}

// dialBook is a Dial that says which addresses accept.
type dialBook struct {
	mu      sync.Mutex
	dialled []string
	accept  string        // this address
	hang    []string      // these never answer
	closed  chan struct{} // a connection was closed that nobody wanted
}

type closing struct {
	net.Conn
	closed chan struct{}
}

func (c closing) Close() error {
	c.closed <- struct{}{}
	return nil
}

func (b *dialBook) dial(ctx context.Context, _, address string) (net.Conn, error) {
	b.mu.Lock()
	b.dialled = append(b.dialled, address)
	b.mu.Unlock()
	switch {
	case address == b.accept:
		return closing{closed: b.closed}, nil
	case slices.Contains(b.hang, address):
		<-ctx.Done()
		if b.closed != nil {
			return closing{closed: b.closed}, nil // it was just in time
		}
		return nil, ctx.Err()
	}
	return nil, errors.New(address + " refuses")
}

func TestDialTriesAllAddresses(t *testing.T) {
	lookup := func(context.Context, string, string) ([]netip.Addr, error) {
		var all []netip.Addr
		for _, s := range []string{"2606:4700::1", "2606:4700::2", "127.0.0.1", "9.9.9.1", "9.9.9.2"} {
			all = append(all, netip.MustParseAddr(s))
		}
		return all, nil
	}
	for name, tc := range map[string]struct {
		book *dialBook
		ok   bool
		want []string
	}{
		"first":  {&dialBook{accept: "[2606:4700::1]:80"}, true, []string{"[2606:4700::1]:80"}},
		"last":   {&dialBook{accept: "9.9.9.2:80"}, true, []string{"[2606:4700::1]:80", "9.9.9.1:80", "[2606:4700::2]:80", "9.9.9.2:80"}},
		"none":   {&dialBook{}, false, []string{"[2606:4700::1]:80", "9.9.9.1:80", "[2606:4700::2]:80", "9.9.9.2:80"}},
		"silent": {&dialBook{accept: "9.9.9.1:80", hang: []string{"[2606:4700::1]:80"}, closed: make(chan struct{}, 1)}, true, []string{"[2606:4700::1]:80", "9.9.9.1:80"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Destinations{Lookup: lookup, Dial: tc.book.dial}
			c, err := d.DialContext(context.Background(), "tcp", "many.test:80")
			require.Equal(t, tc.ok, c != nil)
			require.Equal(t, tc.want, tc.book.dialled)
			if !tc.ok {
				require.EqualError(t, err, "[2606:4700::1]:80 refuses")
			}
			if tc.book.closed != nil { // the late one
				<-tc.book.closed
			}
		})
	}
}

func TestDialEndsInTime(t *testing.T) {
	book := &dialBook{hang: []string{"9.9.9.1:80", "9.9.9.2:80"}}
	lookup := func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("9.9.9.1"), netip.MustParseAddr("9.9.9.2")}, nil
	}
	d := &Destinations{Lookup: lookup, Dial: book.dial, ConnectTimeout: 10 * time.Millisecond}
	_, err := d.DialContext(context.Background(), "tcp", "silent.test:80")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	d.Lookup = func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	_, err = d.DialContext(context.Background(), "tcp", "silent.test:80")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	d.Lookup = func(context.Context, string, string) ([]netip.Addr, error) { return nil, nil }
	_, err = d.DialContext(context.Background(), "tcp", "empty.test:80")
	var dns *net.DNSError
	require.ErrorAs(t, err, &dns)
}

// FuzzAuthority: what is accepted has one spelling, in which it can be dialled
// and compared.
func FuzzAuthority(f *testing.F) {
	for _, s := range append(slices.Clone(privateForms), crookedForms...) {
		f.Add(s + ":443")
	}
	f.Add("a:")
	f.Add("[::1]:1:2")
	f.Fuzz(func(t *testing.T, s string) {
		host, port, err := ParseAuthority(s)
		if err != nil {
			require.Equal(t, 400, exchange.StatusOf(err))
			return
		}
		require.NotZero(t, port)
		again, samePort, err := ParseAuthority(JoinAuthority(host, port))
		require.NoError(t, err)
		require.Equal(t, host, again)
		require.Equal(t, port, samePort)
		require.False(t, syntax.HasBlankOrControl(host))
		if addr, err := netip.ParseAddr(host); err != nil { // a name: nothing else can take it for an address
			require.Nil(t, net.ParseIP(host))
		} else {
			require.Equal(t, addr.String(), host)
		}
	})
}

// TestDeniedNetworkWithZone: a zone takes no address out of a network.
func TestDeniedNetworkWithZone(t *testing.T) {
	d := &Destinations{AllowPrivate: true, DenyAddrs: []netip.Prefix{netip.MustParsePrefix("fe80::/10")}}
	d.Lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("fe80::1%lo")}, nil
	}
	d.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
		return nil, errors.New("dialled " + address)
	}
	_, err := d.DialContext(t.Context(), "tcp", "a.test:80")
	require.ErrorIs(t, err, exchange.ErrForbidden)
}
