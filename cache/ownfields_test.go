package cache

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// arrangements are ways to have a cache, or two, in front of a balancer.
var arrangements = map[string]func(b http.RoundTripper, outer, inner *Cache) http.Handler{
	"Wrap": func(b http.RoundTripper, outer, _ *Cache) http.Handler {
		return outer.Wrap(reverse(b))
	},
	"Transport": func(b http.RoundTripper, outer, _ *Cache) http.Handler {
		return reverse(outer.Transport(b))
	},
	"Wrap before Wrap": func(b http.RoundTripper, outer, inner *Cache) http.Handler {
		return outer.Wrap(inner.Wrap(reverse(b)))
	},
	"Wrap before Transport": func(b http.RoundTripper, outer, inner *Cache) http.Handler {
		return outer.Wrap(reverse(inner.Transport(b)))
	},
	"Transport before Transport": func(b http.RoundTripper, outer, inner *Cache) http.Handler {
		return reverse(outer.Transport(inner.Transport(b)))
	},
	"Transport before a Handler before Wrap": func(b http.RoundTripper, outer, inner *Cache) http.Handler {
		return reverse(outer.Transport(handled{inner.Wrap(reverseAs("back.example", b))}))
	},
	"Wrap before an Observer and a Handler in a Handler": func(b http.RoundTripper, outer, _ *Cache) http.Handler {
		o := &proxy.Observer{Done: func(*http.Request, *exchange.Record) {}}
		return outer.Wrap(o.Wrap(reverseAs("back.example", handled{reverseAs("deep.example", b)})))
	},
}

func reverse(rt http.RoundTripper) http.Handler { return reverseAs("front.example", rt) }

// reverseAs is a Handler that adds Via and maps cookies.
func reverseAs(name string, rt http.RoundTripper) http.Handler {
	return &proxy.Handler{
		Target: &url.URL{Scheme: "balancer", Host: "app", Path: "/"}, Prefix: "/", Transport: rt, Via: proxy.ViaOn, ServerName: name,
		CookiePaths: []proxy.CookieRule{{Internal: "/", Public: "/public/"}},
	}
}

// sticky is a balancer, of balancers if deep, that sets a route cookie.
func sticky(t *testing.T, deep bool, origin http.Handler) *balancer.Balancer {
	var members []balancer.MemberConfig
	for _, route := range []string{"a", "b"} {
		m := balancer.MemberConfig{URL: "http://" + route + ".test", Route: route, RoundTripper: handled{origin}}
		if deep {
			m.RoundTripper = sticky(t, false, origin)
		}
		members = append(members, m)
	}
	b, err := balancer.New(balancer.Config{Name: "app", Sticky: balancer.Sticky{SetCookie: &balancer.RouteCookie{}}}, members...)
	require.NoError(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

// What is added to an answer on its way, for the one who asked, is not stored,
// and has no part in whether the answer is.
func TestOwnFieldsAreNotStored(t *testing.T) {
	for name, arrange := range arrangements {
		for _, control := range []string{"max-age=10", "public, max-age=10", "s-maxage=10"} {
			for _, deep := range []bool{false, true} {
				t.Run(name+"/"+control, func(t *testing.T) {
					clocked(t, func(t *testing.T) { testOwnFields(t, arrange, control, deep) })
				})
			}
		}
	}
}

func testOwnFields(t *testing.T, arrange func(http.RoundTripper, *Cache, *Cache) http.Handler, control string, deep bool) {
	asked := 0
	b := sticky(t, deep, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Cache-Control", control)
		w.Header().Set("Via", "1.1 origin.example")
		w.Header().Set("Cache-Status", "origin.example; hit")
		w.Header().Set("Etag", `"a"`)
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "body")
	}))
	caches := []*Cache{{}, {}}
	for i, c := range caches {
		c.Header, c.DetailHeader, c.CacheStatus, c.ServerName = true, true, []string{"outer", "inner"}[i], []string{"outer", "inner"}[i]
		defer c.Close()
	}
	h := arrange(b, caches[0], caches[1])
	ask := func(method string, lines ...string) http.Header {
		t.Helper()
		resp := ask(h, method, page, lines...)
		synctest.Wait()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		if method == http.MethodGet {
			require.Equal(t, "body", bodyOf(t, resp))
		}
		return resp.Header
	}
	hit := func(what string) {
		t.Helper()
		before := asked
		header := ask("GET")
		require.Equal(t, before, asked, what)
		require.Empty(t, header["Set-Cookie"], what)
		require.Equal(t, "HIT from outer", header.Get("X-Cache"), what)
		require.Len(t, header["X-Cache"], 1, what)
		require.Contains(t, header.Get("X-Cache-Detail"), "from outer", what)
		status := strings.Join(header["Cache-Status"], ", ")
		require.Contains(t, status, "origin.example; hit", what)
		require.Contains(t, status, "outer; hit", what)
		require.NotContains(t, status, "inner", what)
		via := strings.Join(header["Via"], ", ")
		require.Contains(t, []string{"1.1 origin.example", "1.1 origin.example, 1.1 front.example"}, via, what) // of a Handler around the cache
		require.Len(t, header["Age"], 1, what)
		require.Equal(t, "text/plain", header.Get("Content-Type"), what)
	}
	for _, c := range caches { // nothing of this is in a store
		defer func() {
			require.NoError(t, c.Walk(t.Context(), func(e store.Entry) bool {
				m := e.Meta()
				require.Empty(t, m.Header["Set-Cookie"])
				require.Empty(t, m.Header["X-Cache"])
				require.Empty(t, m.Header["X-Cache-Detail"])
				require.Equal(t, []string{"origin.example; hit"}, m.Header["Cache-Status"])
				require.Equal(t, "1.1 origin.example", strings.Join(m.Header["Via"], ", "))
				return true
			}))
		}()
	}
	require.Contains(t, ask("GET").Get("Set-Cookie"), "ROUTEID=", "who is sent to a member gets its cookie")
	hit("after a miss")
	time.Sleep(time.Minute)
	require.Contains(t, ask("GET").Get("Set-Cookie"), "ROUTEID=")
	hit("after a validation")
	time.Sleep(time.Minute)
	require.Contains(t, ask("HEAD").Get("Set-Cookie"), "ROUTEID=")
	hit("after a HEAD")
}

// The origin's own cookie still decides, beside a route cookie.
func TestOwnFieldsHideNoCookieOfTheOrigin(t *testing.T) {
	for name, arrange := range arrangements {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				asked := 0
				b := sticky(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					asked++
					w.Header().Set("Cache-Control", "max-age=10")
					w.Header().Set("Set-Cookie", "user="+r.Header.Get("X-User"))
				}))
				outer, inner := &Cache{}, &Cache{}
				defer outer.Close()
				defer inner.Close()
				h := arrange(b, outer, inner)
				for i, user := range []string{"alice", "bob"} {
					cookies := strings.Join(get(h, page, "X-User: "+user).Header["Set-Cookie"], "\n")
					synctest.Wait()
					require.Equal(t, i+1, asked)
					require.Contains(t, cookies, "user="+user)
					require.Contains(t, cookies, "ROUTEID=")
				}
			})
		})
	}
}
