package balancer

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/parsertest"
)

// TestCost: neither what a client sends nor what a resolver answers costs more
// than its length.
func TestCost(t *testing.T) {
	inputs := make(map[string]parsertest.Input)
	sticky := Sticky{Cookie: "SID", Param: "sid", SemicolonDelimiter: true, SetCookie: &RouteCookie{Name: "ROUTEID"}}
	b, err := New(Config{Name: "b", Sticky: sticky}, MemberConfig{URL: "http://a.test", Route: "a", RoundTripper: &fake{name: "a"}})
	require.NoError(t, err)
	defer b.Close()
	hashed, err := New(Config{Name: "h", Method: &Hash{Key: ByCookie("SID")}}, MemberConfig{URL: "http://a.test", RoundTripper: &fake{name: "a"}})
	require.NoError(t, err)
	defer hashed.Close()
	for name, set := range map[string]func(r *http.Request, n int){
		"cookies": func(r *http.Request, n int) { r.Header["Cookie"] = []string{strings.Repeat("SID=.;", n/6)} },
		"cookies in lines": func(r *http.Request, n int) {
			r.Header["Cookie"] = strings.Split(strings.Repeat("SID=x.x\n", n/8), "\n")
		},
		"semicolons":          func(r *http.Request, n int) { r.Header["Cookie"] = []string{strings.Repeat(";", n)} },
		"quotes":              func(r *http.Request, n int) { r.Header["Cookie"] = []string{"SID=" + strings.Repeat(`".`, n/2)} },
		"a session of dots":   func(r *http.Request, n int) { r.Header["Cookie"] = []string{"SID=" + strings.Repeat(".", n)} },
		"parameters":          func(r *http.Request, n int) { r.URL.RawQuery = strings.Repeat("sid&", n/4) },
		"sessions in a query": func(r *http.Request, n int) { r.URL.RawQuery = strings.Repeat("sid=&", n/5) },
		"path parameters":     func(r *http.Request, n int) { r.URL.Path = "/" + strings.Repeat(";sid", n/4) },
		"sessions in a path":  func(r *http.Request, n int) { r.URL.Path = "/" + strings.Repeat(";sid=.", n/6) },
		"bytes to escape":     func(r *http.Request, n int) { r.URL.Path = "/" + strings.Repeat("\"", n) },
	} {
		for _, bal := range []*Balancer{b, hashed} {
			inputs["session by "+bal.Name()+", "+name] = func(n int) func() {
				r := httptest.NewRequest("GET", "http://front.test/", nil)
				set(r, n)
				return func() {
					resp, err := bal.RoundTrip(r)
					require.NoError(t, err)
					_ = resp.Body.Close()
				}
			}
		}
	}
	found := func(n int) *answering {
		a := &answering{addrs: make([]netip.Addr, n/16), srv: make([]*net.SRV, n/16)}
		for i := range a.addrs {
			a.addrs[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			a.srv[i] = &net.SRV{Target: fmt.Sprintf("a%04d.test.", i), Port: 80, Priority: uint16(i), Weight: uint16(i)}
		}
		return a
	}
	for name, of := range map[string]func(*answering) Discovery{
		"addresses": func(a *answering) Discovery { return &DNS{Host: "app.test", Port: 80, Resolver: a} },
		"services":  func(a *answering) Discovery { return &SRV{Name: "app.test", Resolver: a} },
	} {
		inputs["resolver, "+name] = func(n int) func() {
			d := of(found(n))
			return func() {
				_, _, err := d.Discover(context.Background())
				require.NoError(t, err)
			}
		}
	}
	parsertest.Linear(t, inputs)
}

// answering is a resolver.
type answering struct {
	addrs []netip.Addr
	srv   []*net.SRV
}

func (a *answering) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return append([]netip.Addr(nil), a.addrs...), nil
}

func (a *answering) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", a.srv, nil
}
