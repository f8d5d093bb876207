package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy/exchange"
)

func TestSession(t *testing.T) {
	_, list := flagged(t, "a b")
	list[0].Route, list[1].Route = "ra", "rb"
	for _, test := range []struct {
		name   string
		sticky Sticky
		url    string
		cookie []string
		want   string
	}{
		{"none", ParseSticky("SID"), "/", nil, ""},
		{"cookie", ParseSticky("SID"), "/", []string{"x=1; SID=abc.rb; y=2"}, "rb"},
		{"quoted cookie", ParseSticky("SID"), "/", []string{`SID="abc.rb"`}, "rb"},
		{"second cookie field", ParseSticky("SID"), "/", []string{"x=1", "SID=abc.rb"}, "rb"},
		{"second of one name is known", ParseSticky("SID"), "/", []string{"SID=abc.old; SID=abc.rb"}, "rb"},
		{"name is the end of another", ParseSticky("SID"), "/", []string{"XSID=abc.rb"}, ""},
		{"names differ in case", ParseSticky("SID"), "/", []string{"sid=abc.rb"}, ""},
		{"path parameter", ParseSticky("SID|sid"), "/x;sid=abc.rb", nil, "rb"},
		{"path parameter in the middle", ParseSticky("SID|sid"), "/x;sid=abc.rb/y", nil, "rb"},
		{"query", ParseSticky("SID|sid"), "/x?q=1&sid=abc.rb&z=2", nil, "rb"},
		{"the URL comes before the cookie", ParseSticky("SID|sid"), "/x;sid=abc.rb", []string{"SID=abc.ra"}, "rb"},
		{"the cookie's name is not looked for in the URL", ParseSticky("SID|sid"), "/x;SID=abc.rb", nil, ""},
		{"delimiter off", ParseSticky("sid"), "/x;sid=abc.rb;more", nil, "rb;more"},
		{"delimiter on", Sticky{Param: "sid", SemicolonDelimiter: true}, "/x;sid=abc.rb;more", nil, "rb"},
		{"the last separator", ParseSticky("SID"), "/", []string{"SID=a.b.rb"}, "rb"},
		{"no separator", ParseSticky("SID"), "/", []string{"SID=rb"}, ""},
		{"other separator", Sticky{Cookie: "SID", Separator: "!"}, "/", []string{"SID=a.b!rb"}, "rb"},
		{"separator off", Sticky{Cookie: "SID", Separator: "off"}, "/", []string{"SID=rb"}, "rb"},
		{"own cookie", Sticky{SetCookie: &RouteCookie{}}, "/", []string{"ROUTEID=.rb"}, "rb"},
		{"own cookie beside another", Sticky{Cookie: "SID", SetCookie: &RouteCookie{Name: "R"}}, "/", []string{"SID=abc; R=.rb"}, "rb"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newTest(t, Config{Sticky: test.sticky}, list...)
			r := get(t, "balancer://x"+test.url)
			r.Header["Cookie"] = test.cookie
			require.Equal(t, test.want, b.view.Load().session(r).route)
			if test.want == "rb" {
				for range 3 {
					name, err := sent(b, r)
					require.NoError(t, err)
					require.Equal(t, "b", name)
				}
			}
		})
	}
}

func inSession(t *testing.T, route string) *http.Request {
	r := get(t, "balancer://x/")
	r.Header.Set("Cookie", "SID=1."+route)
	return r
}

func TestSessionOfAnUnusableMember(t *testing.T) {
	for _, test := range []struct {
		name       string
		change     func(a *Member)
		noFailover bool
		want       string // "" is 503
	}{
		{"usable", func(*Member) {}, true, "a"},
		{"draining keeps its sessions", func(a *Member) { a.SetFlags(Draining, 0) }, true, "a"},
		{"disabled", func(a *Member) { a.SetFlags(Disabled, 0) }, false, "b"},
		{"disabled, no failover", func(a *Member) { a.SetFlags(Disabled, 0) }, true, ""},
		{"in error", func(a *Member) { a.MarkError(errors.New("test")) }, false, "b"},
		{"in error, no failover", func(a *Member) { a.MarkError(errors.New("test")) }, true, ""},
		{"redirect", func(a *Member) {
			_ = a.Configure(func(c *MemberConfig) { c.Flags, c.Redirect = Stopped, "rc" })
		}, true, "c"},
		{"redirects in a circle", func(a *Member) {
			_ = a.Configure(func(c *MemberConfig) { c.Flags, c.Redirect = Stopped, "ra" })
		}, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, list := flagged(t, "a b c")
			list[0].Route, list[1].Route, list[2].Route = "ra", "rb", "rc"
			sticky := ParseSticky("SID")
			sticky.NoFailover = test.noFailover
			b := newTest(t, Config{Sticky: sticky}, list...)
			test.change(b.Member("a"))
			name, err := sent(b, inSession(t, "ra"))
			if test.want == "" {
				require.ErrorIs(t, err, ErrSessionMember)
				require.Equal(t, 503, exchange.StatusOf(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, name)
		})
	}
}

func TestUnknownRouteIsNoSession(t *testing.T) {
	_, list := flagged(t, "a")
	sticky := ParseSticky("SID")
	sticky.NoFailover = true
	b := newTest(t, Config{Sticky: sticky}, list...)
	name, err := sent(b, inSession(t, "nowhere"))
	require.NoError(t, err)
	require.Equal(t, "a", name)
}

func TestRouteCookie(t *testing.T) {
	fs, list := flagged(t, "a b")
	list[0].Route, list[1].Route = "ra", "rb"
	b := newTest(t, Config{Name: "x", Sticky: Sticky{SetCookie: &RouteCookie{}}}, list...)
	cookie := func(r *http.Request) string {
		resp, err := b.RoundTrip(r)
		require.NoError(t, err)
		_ = resp.Body.Close()
		return resp.Header.Get("Set-Cookie")
	}
	require.Equal(t, "ROUTEID=.ra; Path=/; HttpOnly; SameSite=Lax", cookie(get(t, "balancer://x/")))

	r := get(t, "balancer://x/")
	r.TLS = &tls.ConnectionState{}
	require.Equal(t, "ROUTEID=.rb; Path=/; HttpOnly; Secure; SameSite=Lax", cookie(r))

	r = get(t, "balancer://x/")
	r.Header.Set("Cookie", "ROUTEID=.rb")
	require.Empty(t, cookie(r))

	fs["b"].down()
	require.Equal(t, "ROUTEID=.ra; Path=/; HttpOnly; SameSite=Lax", cookie(r), "after a failover")
}

func TestFacts(t *testing.T) {
	_, list := flagged(t, "a b d/D")
	list[0].Route, list[1].Route = "ra", "rb"
	var seen []Facts
	b := newTest(t, Config{Name: "x", Sticky: ParseSticky("SID"), OnAnswer: func(_ *http.Response, f *Facts) { seen = append(seen, *f) }}, list...)
	var outside Facts
	r := inSession(t, "old")
	resp, err := b.RoundTrip(r.WithContext(WithFacts(r.Context(), &outside)))
	require.NoError(t, err)
	_ = resp.Body.Close()
	for _, f := range []*Facts{&seen[0], &outside, FactsFrom(resp.Request.Context())} {
		for name, want := range map[string]string{
			"BALANCER_NAME": "balancer://x", "BALANCER_SESSION_STICKY": "SID", "BALANCER_SESSION_ROUTE": "old",
			"BALANCER_WORKER_NAME": "http://a", "BALANCER_WORKER_ROUTE": "ra", "BALANCER_ROUTE_CHANGED": "1", "OTHER": "",
		} {
			require.Equal(t, want, f.Env(name), name)
		}
		require.Equal(t, "byrequests", f.Why)
		require.Equal(t, []exchange.Skip{{Member: "d", Why: "disabled"}}, f.Skipped)
	}
	_, err = sent(b, inSession(t, "rb"))
	require.NoError(t, err)
	require.Empty(t, seen[1].Env("BALANCER_ROUTE_CHANGED"))
	require.Equal(t, "session", seen[1].Why)
	require.Nil(t, FactsFrom(context.Background()))
}

func TestInvalidNamesAreRefused(t *testing.T) {
	_, list := flagged(t, "a")
	for _, route := range []string{"a b", "a;b", "a\r\nb", "a/b", "a\"b", "ä"} {
		list[0].Route = route
		_, err := New(Config{}, list...)
		require.Error(t, err, route)
	}
	for _, s := range []Sticky{{Cookie: "a;b"}, {Separator: ".."}, {SetCookie: &RouteCookie{Name: "a b"}}, {SetCookie: &RouteCookie{Domain: "a;b"}}} {
		_, err := New(Config{Sticky: s})
		require.Error(t, err, s)
	}
}

// TestSessionAfterRecovery: when all members are in error, a session comes back
// to its own, as in httpd, even if it may go nowhere else.
func TestSessionAfterRecovery(t *testing.T) {
	for _, noFailover := range []bool{false, true} {
		_, list := fakes(3)
		for i := range list {
			list[i].Route = list[i].Name
		}
		b := newTest(t, Config{Sticky: Sticky{Cookie: "S", NoFailover: noFailover}}, list...)
		for _, m := range b.Members() {
			m.MarkError(errors.New("down"))
		}
		r := get(t, "balancer://x/")
		r.Header.Set("Cookie", "S=1.c")
		got, err := sent(b, r)
		require.NoError(t, err)
		require.Equal(t, "c", got)
	}
}
