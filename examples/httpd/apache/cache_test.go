package apache

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// counting is a backend that counts what it is asked, and answers with fields
// that the query names: ?Cache-Control=max-age%3D60.
type counting struct {
	asked atomic.Int64
	begin chan struct{} // if not nil, answers wait for it
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := c.asked.Add(1)
	if c.begin != nil {
		<-c.begin
	}
	status := http.StatusOK
	for name, values := range r.URL.Query() {
		if name == "status" {
			fmt.Sscan(values[0], &status)
			continue
		}
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "answer %d", n)
}

// startCached runs a configuration with a counting backend.
func startCached(t *testing.T, config string) (*program, *counting) {
	c := &counting{}
	return start(t, config, c), c
}

func field(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// TestRouteCookieIsNotCached: it is for the client that was sent to a member,
// and the answer may be stored as if it were not there.
func TestRouteCookieIsNotCached(t *testing.T) {
	for quick, how := range map[string]string{"on": "", "off": "always", "Off": "onsuccess"} {
		for _, control := range []string{"max-age%3D60", "public,+max-age%3D60"} {
			c := &counting{}
			back := httptest.NewServer(c)
			defer back.Close()
			p := start(t, `
Listen 80
<VirtualHost *:80>
ServerName proxy.example.com
CacheEnable socache "/"
CacheQuickHandler `+quick+`
CacheHeader on
<Proxy "balancer://app">
BalancerMember "http://back.local:8080" route=node1
ProxySet stickysession=ROUTEID
</Proxy>
Header `+how+` add Set-Cookie "ROUTEID=.%{BALANCER_WORKER_ROUTE}e; path=/" env=BALANCER_ROUTE_CHANGED
ProxyPass "/app/" "balancer://app/app/"
</VirtualHost>`, echo, "-resolve", "back.local:8080="+back.Listener.Addr().String())
			page := "proxy.example.com/app/x?Cache-Control=" + control
			resp, _ := p.get("80", page)
			require.Equal(t, "ROUTEID=.node1; path=/", resp.Header.Get("Set-Cookie"))
			resp, text := p.get("80", page)
			require.Equal(t, "answer 1", text)
			require.Equal(t, "HIT from proxy.example.com", resp.Header.Get("X-Cache"))
			require.Empty(t, resp.Header["Set-Cookie"])
			resp, text = p.get("80", page+"&Set-Cookie=user%3Dalice%3B+secure&x="+control[:1])
			require.NotEqual(t, "answer 1", text)
			require.Len(t, resp.Header["Set-Cookie"], 2)
		}
	}
}

// TestCacheConfiguration runs conf/cache.conf as it stands.
func TestCacheConfiguration(t *testing.T) {
	config, err := os.ReadFile("../conf/cache.conf")
	require.NoError(t, err)
	c := &counting{}
	back := httptest.NewServer(c)
	t.Cleanup(back.Close)
	p := start(t, string(config), echo, "-resolve", "backend.local:80="+back.Listener.Addr().String())
	const page = "proxy.example.com/app/x?ETag=%22a%22&Last-Modified=Mon,+06+Jan+2020+10:00:00+GMT&Cache-Control=max-age%3D60&Set-Cookie=a%3Db"
	resp, text := p.get("80", page)
	require.Equal(t, "answer 1", text)
	require.Equal(t, "MISS from proxy.example.com", resp.Header.Get("X-Cache"))
	require.Equal(t, "a=b", resp.Header.Get("Set-Cookie"))
	resp, text = p.get("80", page)
	require.Equal(t, "answer 1", text)
	require.Equal(t, "HIT from proxy.example.com", resp.Header.Get("X-Cache"))
	require.Empty(t, resp.Header.Get("Set-Cookie"), "CacheIgnoreHeaders")
	require.NotEmpty(t, resp.Header.Get("Age"))
	resp, _ = p.get("80", page, field("If-None-Match", `"a"`))
	require.Equal(t, http.StatusNotModified, resp.StatusCode)
	resp, text = p.get("80", page, field("Range", "bytes=0-2"))
	require.Equal(t, "ans", text)
	require.Equal(t, "bytes 0-2/8", resp.Header.Get("Content-Range"))
	resp, text = p.get("80", page, field("Cache-Control", "no-cache"))
	require.Equal(t, "answer 2", text)
	require.Equal(t, "MISS from proxy.example.com", resp.Header.Get("X-Cache"))

	// Many who want the same wait for one.
	c.begin = make(chan struct{})
	before := c.asked.Load()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, text := p.get("80", "proxy.example.com/app/herd?Cache-Control=max-age%3D60")
			require.Equal(t, fmt.Sprintf("answer %d", before+1), text)
		})
	}
	require.Eventually(t, func() bool { return c.asked.Load() > before }, 20*time.Second, time.Millisecond)
	close(c.begin)
	wg.Wait()
	require.Equal(t, before+1, c.asked.Load())

	// What is stored outlives a reload, and a restart.
	p.signals <- syscall.SIGHUP
	_, text = p.get("80", page)
	require.Equal(t, "answer 2", text)
	files := 0
	require.NoError(t, filepath.Walk(filepath.Join(filepath.Dir(p.file), "cache"), func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			files++
		}
		return err
	}))
	require.NotZero(t, files)
	p.stop()
}

// With the quick handler, a hit asks no section for leave.
func TestCacheQuickHandler(t *testing.T) {
	for _, quick := range []string{"on", "off"} {
		t.Run(quick, func(t *testing.T) {
			p, c := startCached(t, `Listen 80
CacheQuickHandler `+quick+`
CacheEnable memory /
CacheHeader on
ServerName s
ProxyPass / http://backend.test/
<Location />
    Require ip 127.0.0.2
</Location>`)
			url := "s/x?Cache-Control=max-age%3D60"
			require.Equal(t, 200, p.getFrom("127.0.0.2", url))
			require.Equal(t, 200, p.getFrom("127.0.0.2", url))
			require.Equal(t, int64(1), c.asked.Load())
			require.Equal(t, map[string]int{"on": 200, "off": 403}[quick], p.getFrom("127.0.0.1", url))
		})
	}
}

// cached runs pairs of the same request and tells whether the second was a hit.
func (p *program) cached(c *counting, url string, change ...func(*http.Request)) bool {
	p.t.Helper()
	p.get("80", url, change...)
	before := c.asked.Load()
	p.get("80", url, change...)
	return c.asked.Load() == before
}

func TestCacheEnableAndDisable(t *testing.T) {
	p, c := startCached(t, `Listen 80
CacheQuickHandler off
CacheSocache shmcb:/run/cache(1048576)
CacheEnable socache /a
CacheEnable memory http://host.test/b
CacheEnable memory http://*.wild.test/
CacheDisable /a/no
SetEnvIf X-No . no-cache
ServerName s
ProxyPass / http://backend.test/
<Location /a/off>
    CacheDisable on
</Location>
<Location /c>
    CacheEnable memory
</Location>`)
	const fresh = "?Cache-Control=max-age%3D60"
	for url, want := range map[string]bool{
		"s/a/x": true, "s/ab": true, "s/a/no/x": false, "s/a/off/x": false, "s/b/x": false, "host.test/b/x": true, "x.wild.test/q": true, "s/c/x": true, "s/d": false,
	} {
		require.Equal(t, want, p.cached(c, url+fresh), url)
	}
	require.False(t, p.cached(c, "s/a/y"+fresh, field("X-No", "1")), "no-cache")
}

func TestCacheSettings(t *testing.T) {
	run := func(lines string) (*program, *counting) {
		return startCached(t, "Listen 80\nServerName s\nCacheQuickHandler off\nCacheEnable memory /\nProxyPass / http://backend.test/\n"+lines)
	}
	const fresh = "?Cache-Control=max-age%3D60"
	const old = "Last-Modified=Mon,+06+Jan+2020+10:00:00+GMT"
	for name, tc := range map[string]struct {
		lines, url string
		want       bool
	}{
		"plain":                               {"", "s/x" + fresh, true},
		"no lifetime, no validator":           {"", "s/x", false},
		"CacheDefaultExpire with a validator": {"CacheDefaultExpire 60", "s/x?ETag=%22a%22", false}, // the URL has a query
		"query needs an expiry":               {"", "s/x?" + old, false},
		"no-store":                            {"", "s/x?Cache-Control=max-age%3D60,no-store", false},
		"CacheStoreNoStore":                   {"CacheStoreNoStore On", "s/x?Cache-Control=max-age%3D60,no-store", true},
		"private":                             {"", "s/x?Cache-Control=max-age%3D60,private", false},
		"CacheStorePrivate":                   {"CacheStorePrivate On", "s/x?Cache-Control=max-age%3D60,private", true},
		"CacheMaxFileSize":                    {"CacheMaxFileSize 5", "s/x" + fresh, false},
		"CacheMinFileSize":                    {"CacheMinFileSize 100", "s/x" + fresh, false},
		"CacheSocache sizes":                  {"CacheSocacheMaxSize 5\nCacheSocacheMinTime 1\nCacheSocacheMaxTime 100\nCacheSocacheReadSize 1\nCacheSocacheReadTime 1", "s/x" + fresh, false},
		"reads":                               {"CacheReadSize 4\nCacheReadTime 10", "s/x" + fresh, true},
		"CacheMaxExpire":                      {"CacheMaxExpire 0", "s/x" + fresh, true}, // 0 is no limit
		"levels":                              {"CacheRoot r\nCacheDirLevels 3\nCacheDirLength 1", "s/x" + fresh, true},
		"CacheStoreExpired":                   {"CacheStoreExpired On\nCacheStaleOnError off\nCacheMinExpire 0", "s/x" + fresh, true},
	} {
		t.Run(name, func(t *testing.T) {
			p, c := run(tc.lines)
			require.Equal(t, tc.want, p.cached(c, tc.url))
		})
	}
	t.Run("CacheIgnoreNoLastMod", func(t *testing.T) {
		p, c := run("CacheIgnoreNoLastMod On\nCacheDefaultExpire 60")
		require.True(t, p.cached(c, "s/x"))
	})
	t.Run("CacheIgnoreCacheControl", func(t *testing.T) {
		p, c := run("CacheIgnoreCacheControl On")
		require.True(t, p.cached(c, "s/x"+fresh, field("Cache-Control", "no-cache")))
	})
	t.Run("keys", func(t *testing.T) {
		p, c := run("CacheIgnoreURLSessionIdentifiers jsessionid sid\nCacheKeyBaseURL http://s/")
		for _, url := range []string{"s/x" + fresh, "s/x;jsessionid=1" + fresh, "s/x" + fresh + "&sid=2", "other/x" + fresh} {
			_, text := p.get("80", url)
			require.Equal(t, "answer 1", text, url)
		}
		require.Equal(t, int64(1), c.asked.Load())
		p, c = run("CacheIgnoreQueryString On")
		p.get("80", "s/x"+fresh)
		p.get("80", "s/x?other")
		require.Equal(t, int64(1), c.asked.Load())
	})
	t.Run("headers", func(t *testing.T) {
		p, _ := run("CacheHeader on\nCacheDetailHeader on")
		resp, _ := p.get("80", "s/x"+fresh)
		require.Equal(t, `"not in the cache" from s`, resp.Header.Get("X-Cache-Detail"))
		require.Equal(t, "MISS from s", resp.Header.Get("X-Cache"))
	})
}

func TestCacheMistakes(t *testing.T) {
	for lines, want := range map[string]string{
		"CacheEnable tape /":                             `"tape" is no kind of store`,
		"CacheEnable disk":                               "a URL is needed",
		"CacheLastModifiedFactor x":                      "is no factor",
		"CacheDefaultExpire -1":                          "is no time",
		"CacheDirLevels 0":                               "is no number",
		"CacheKeyBaseURL /x":                             "scheme and host are needed",
		"<Location />\nCacheEnable disk /x\n</Location>": "a section takes no URL",
		"CacheLock perhaps":                              "On or Off",
	} {
		var out strings.Builder
		file := filepath.Join(t.TempDir(), "x.conf")
		require.NoError(t, os.WriteFile(file, []byte("Listen 80\nServerName s\n"+lines+"\n"), 0o644))
		require.NotZero(t, run([]string{"-t", "-f", file}, &out, &out, nil, nil), lines)
		require.Contains(t, out.String(), want, lines)
	}
}

// TestCheckLeavesDisk: -t makes no directory and no lock file.
func TestCheckLeavesDisk(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.conf")
	require.NoError(t, os.WriteFile(file, []byte("Listen 80\nCacheRoot cache\nCacheEnable disk /\nProxyPass / http://backend.test/\n"), 0o600))
	var stderr bytes.Buffer
	require.Zero(t, run([]string{"-f", file, "-t"}, io.Discard, &stderr, nil, nil))
	require.Equal(t, "Syntax OK\n", stderr.String())
	require.NoDirExists(t, filepath.Join(dir, "cache"))
}

// TestStatusOfCaches: the status page tells what the caches do.
func TestStatusOfCaches(t *testing.T) {
	p := start(t, "ServerName h.test\nCacheEnable memory /\nProxyPass /server-status !\nProxyPass / http://backend.test/\n<Location /server-status>\nCacheDisable on\nSetHandler server-status\n</Location>\n",
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=600")
			_, _ = w.Write([]byte("kept"))
		}))
	for range 3 {
		p.get("80", "h.test/x")
	}
	_, text := p.get("80", "h.test/server-status")
	require.Regexp(t, `<tr><td>h\.test<td>memory<td>2<td>0<td>0<td>0<td>1<td>0<td>1<td>0<td>1<td>\d+<td>0</tr>`, text)
}
