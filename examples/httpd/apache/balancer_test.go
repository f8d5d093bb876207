package apache

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// node is a backend that tells its name, and can be told to fail.
type node struct {
	*httptest.Server
	status atomic.Int64 // 0 means 200
	checks atomic.Int64
}

func newNode(t *testing.T, name string) *node {
	n := &node{}
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("User-Agent") == "modproxy (health check)" {
			n.checks.Add(1)
		}
		if s := n.status.Load(); s != 0 {
			w.WriteHeader(int(s))
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "/moved"):
			http.Redirect(w, r, "http://"+r.Host+"/app/there", http.StatusFound)
		default:
			fmt.Fprintf(w, "%s %s", name, r.RequestURI)
		}
	}))
	t.Cleanup(n.Close)
	return n
}

// resolve is the -resolve that puts a name of the configuration at a node.
func (n *node) resolve(name string) []string {
	return []string{"-resolve", name + "=" + n.Listener.Addr().String()}
}

func withCookie(c string) func(r *http.Request) {
	return func(r *http.Request) { r.Header.Set("Cookie", c) }
}

// TestBalancerConfiguration runs conf/balancer.conf, bytraffic.conf and
// bybusyness.conf as they stand.
func TestBalancerConfiguration(t *testing.T) {
	for file, method := range map[string]string{"balancer": "byrequests", "bytraffic": "bytraffic", "bybusyness": "bybusyness"} {
		t.Run(method, func(t *testing.T) {
			text, err := os.ReadFile("../conf/" + file + ".conf")
			require.NoError(t, err)
			one, two := newNode(t, "one"), newNode(t, "two")
			args := append(one.resolve("backend1.local:8080"), two.resolve("backend2.local:8080")...)
			p := start(t, string(text), echo, args...)
			count := make(map[string]int)
			cookies := make(map[string]string)
			for range 10 {
				resp, body := p.get("80", "proxy.example.com/app/x?y")
				require.Equal(t, 200, resp.StatusCode)
				name, target, _ := strings.Cut(body, " ")
				require.Equal(t, "/app/x?y", target)
				count[name]++
				cookies[name] = resp.Header.Get("Set-Cookie")
			}
			require.Equal(t, map[string]int{"one": 5, "two": 5}, count)
			require.Equal(t, map[string]string{"one": "ROUTEID=.node1; path=/", "two": "ROUTEID=.node2; path=/"}, cookies)
			for range 4 {
				resp, body := p.get("80", "proxy.example.com/app/x", withCookie("ROUTEID=.node2"))
				require.Equal(t, "two /app/x", body)
				require.Empty(t, resp.Header.Get("Set-Cookie"))
			}
			resp, _ := p.get("80", "proxy.example.com/app/moved")
			require.Equal(t, "http://proxy.example.com/app/there", resp.Header.Get("Location"))
			two.Close()
			for range 6 {
				_, body := p.get("80", "proxy.example.com/app/x", withCookie("ROUTEID=.node2"))
				require.Equal(t, "one /app/x", body, "failover")
			}
			one.Close()
			resp, _ = p.get("80", "proxy.example.com/app/x")
			require.Equal(t, 503, resp.StatusCode)
			require.NotEmpty(t, resp.Header.Get("Retry-After"))
			_, page := p.get("80", "proxy.example.com/balancer-manager")
			require.Contains(t, page, "balancer://mycluster")
			require.Contains(t, page, method)
			require.Contains(t, page, "Init Err")
		})
	}
}

// TestBalancerParameters has a row for each parameter.
func TestBalancerParameters(t *testing.T) {
	const members = "BalancerMember http://one.test\nBalancerMember http://two.test"
	for name, tc := range map[string]struct {
		cluster string // inside <Proxy balancer://c>
		more    string
		change  func(r *http.Request)
		one     int64 // the status of node one
		want    []string
	}{
		"in turn":                {members, "", nil, 0, []string{"one", "two", "one", "two"}},
		"loadfactor":             {"BalancerMember http://one.test loadfactor=3\nBalancerMember http://two.test", "", nil, 0, []string{"one", "one", "two", "one"}},
		"lbset":                  {"BalancerMember http://one.test lbset=1\nBalancerMember http://two.test", "", nil, 0, []string{"two", "two"}},
		"status=D":               {"BalancerMember http://one.test status=D\nBalancerMember http://two.test", "", nil, 0, []string{"two", "two"}},
		"status=+H":              {"BalancerMember http://one.test\nBalancerMember http://two.test status=+H", "", nil, 0, []string{"one", "one"}},
		"lbmethod=first":         {members + "\nProxySet lbmethod=first", "", nil, 0, []string{"one", "one"}},
		"parameters of <Proxy>":  {members, "ProxySet balancer://c lbmethod=first", nil, 0, []string{"one", "one"}},
		"member outside":         {"BalancerMember http://one.test", "BalancerMember balancer://c http://two.test", nil, 0, []string{"one", "two"}},
		"failonstatus":           {members + "\nProxySet failonstatus=503,500", "", nil, 503, []string{"two", "two"}},
		"redirect":               {"BalancerMember http://one.test redirect=r2\nBalancerMember http://two.test route=r2", "", nil, 0, []string{"two", "two"}},
		"stickysession":          {"BalancerMember http://one.test route=r1\nBalancerMember http://two.test route=r2\nProxySet stickysession=SID|sid", "", withCookie("SID=x.r2"), 0, []string{"two", "two"}},
		"stickysessionsep":       {"BalancerMember http://one.test route=r1\nBalancerMember http://two.test route=r2\nProxySet stickysession=SID stickysessionsep=!", "", withCookie("SID=x.y!r2"), 0, []string{"two", "two"}},
		"nofailover":             {"BalancerMember http://one.test route=r1\nBalancerMember http://two.test route=r2 status=D\nProxySet stickysession=SID nofailover=On", "", withCookie("SID=x.r2"), 0, []string{"503"}},
		"all of a balancer":      {members + "\nProxySet lbmethod=bybusyness maxattempts=1 nofailover=Off stickysession=S scolonpathdelim=On timeout=3 failonstatus=500 failontimeout=On forcerecovery=Off growth=2 nonce=x", "", nil, 500, []string{"two", "two"}},
		"connections of members": {"BalancerMember http://one.test max=2 timeout=5 ttl=9\nBalancerMember http://two.test status=D", "", nil, 0, []string{"one"}},
	} {
		t.Run(name, func(t *testing.T) {
			one, two := newNode(t, "one"), newNode(t, "two")
			one.status.Store(tc.one)
			config := "Listen 80\n<Proxy balancer://c>\n" + tc.cluster + "\n</Proxy>\n" + tc.more + "\nProxyPass / balancer://c/\n"
			p := start(t, config, echo, append(one.resolve("one.test:80"), two.resolve("two.test:80")...)...)
			for _, want := range tc.want {
				var change []func(*http.Request)
				if tc.change != nil {
					change = append(change, tc.change)
				}
				_, body := p.get("80", "h.test/x", change...)
				got, _, _ := strings.Cut(body, " ")
				require.Equal(t, want, got, body)
			}
		})
	}
}

// TestHealthChecks: a template, an expression, and a member that fails it.
func TestHealthChecks(t *testing.T) {
	one, two := newNode(t, "one"), newNode(t, "two")
	config := `
Listen 80
ProxyHCTPsize 2
ProxyHCExpr well {%{REQUEST_STATUS} =~ /^[23]/ && hc('body') !~ /maintenance/}
ProxyHCTemplate often hcmethod=GET hcinterval=100ms hcuri=/health hcexpr=well
<Proxy balancer://c>
    BalancerMember http://one.test hctemplate=often hcfails=2
    BalancerMember http://two.test
</Proxy>
ProxyPass /server-status !
ProxyPass / balancer://c/
<Location /server-status>
    SetHandler server-status
</Location>
ProxyStatus On
`
	p := start(t, config, echo, append(one.resolve("one.test:80"), two.resolve("two.test:80")...)...)
	status := func() string { _, text := p.get("80", "h.test/server-status"); return text }
	one.status.Store(404)
	require.Eventually(t, func() bool { return strings.Contains(status(), "HcFl") }, 20*time.Second, 10*time.Millisecond)
	for range 3 {
		_, body := p.get("80", "h.test/x")
		require.Equal(t, "two /x", body)
	}
	one.status.Store(0)
	require.Eventually(t, func() bool { return !strings.Contains(status(), "HcFl") }, 20*time.Second, 10*time.Millisecond)
	require.GreaterOrEqual(t, one.checks.Load(), int64(3))
	require.Zero(t, two.checks.Load())
	require.Contains(t, status(), "balancer://c")
}

// TestBalancerPersists: what the manager changed outlives a reload and a
// restart.
func TestBalancerPersists(t *testing.T) {
	one, two := newNode(t, "one"), newNode(t, "two")
	dir := t.TempDir()
	config := `
Listen 80
DefaultRuntimeDir ` + dir + `
BalancerPersist On
BalancerGrowth 1
<Proxy balancer://c>
    BalancerMember http://one.test
</Proxy>
ProxyPass /app/ balancer://c/
<Location /bm>
    SetHandler balancer-manager
</Location>
`
	args := append(one.resolve("one.test:80"), two.resolve("two.test:80")...)
	p := start(t, config, echo, args...)
	change := func(form url.Values) int {
		var s struct{ Balancers []struct{ Nonce string } }
		_, text := p.get("80", "h.test/bm?json=1")
		require.NoError(t, json.Unmarshal([]byte(text), &s))
		form.Set("b", "c")
		form.Set("nonce", s.Balancers[0].Nonce)
		resp, _ := p.get("80", "h.test/bm", func(r *http.Request) {
			r.Method, r.Body = "POST", io.NopCloser(strings.NewReader(form.Encode()))
			r.ContentLength = int64(len(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		})
		return resp.StatusCode
	}
	require.Equal(t, 303, change(url.Values{"b_wyes": {"1"}, "b_nwrkr": {"http://two.test"}, "enable": {"1"}}))
	require.Equal(t, 400, change(url.Values{"b_wyes": {"1"}, "b_nwrkr": {"http://three.test"}}))
	require.Equal(t, 303, change(url.Values{"w": {"http://one.test"}, "w_status_D": {"1"}}))
	_, body := p.get("80", "h.test/app/x")
	require.Equal(t, "two /x", body)

	p.signals <- syscall.SIGHUP
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "reloaded") }, 20*time.Second, 5*time.Millisecond)
	_, body = p.get("80", "h.test/app/x")
	require.Equal(t, "two /x", body, "after a reload")
	p.stop()
	p = start(t, config, echo, args...)
	_, body = p.get("80", "h.test/app/x")
	require.Equal(t, "two /x", body, "after a restart")
	p.stop()

	files, err := filepath.Glob(dir + "/balancer-*.json")
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, os.WriteFile(files[0], []byte("{"), 0o644))
	p = start(t, config, echo, args...)
	_, body = p.get("80", "h.test/app/x")
	require.Equal(t, "one /x", body, "a broken file changes nothing")
}

// TestBalancersOfVirtualHosts: a virtual host uses the balancers of the main
// server, unless it says otherwise.
func TestBalancersOfVirtualHosts(t *testing.T) {
	one, two := newNode(t, "one"), newNode(t, "two")
	config := `
Listen 80
<Proxy balancer://c>
    BalancerMember http://one.test
</Proxy>
<VirtualHost *:80>
    ServerName a.test
    ProxyPass / balancer://c/
</VirtualHost>
<VirtualHost *:80>
    ServerName b.test
    BalancerInherit Off
    <Proxy balancer://c>
        BalancerMember http://two.test
    </Proxy>
    ProxyPass / balancer://c/
</VirtualHost>
`
	p := start(t, config, echo, append(one.resolve("one.test:80"), two.resolve("two.test:80")...)...)
	_, body := p.get("80", "a.test/x")
	require.Equal(t, "one /x", body)
	_, body = p.get("80", "b.test/x")
	require.Equal(t, "two /x", body)
}

func TestBalancerConfigurationErrors(t *testing.T) {
	for text, want := range map[string]string{
		"BalancerMember http://one.test":                                                                       "x.conf:2: BalancerMember: want balancer://name before the member, outside of <Proxy balancer://name>",
		"<Proxy balancer://c>\nBalancerMember http://one.test loadfactor=0.5\n</Proxy>":                        "x.conf:3: BalancerMember: loadfactor=0.5: want a number from 1 to 100",
		"<Proxy balancer://c>\nBalancerMember http://one.test status=X\n</Proxy>":                              `x.conf:3: BalancerMember: backend: status "X": unknown letter 'X'`,
		"<Proxy balancer://c>\nBalancerMember gopher2://one.test\n</Proxy>":                                    "x.conf:3: BalancerMember: scheme \"gopher2\" is not known",
		"<Proxy balancer://c>\nBalancerMember http://one.test hcinterval=1ms\n</Proxy>":                        "x.conf:3: BalancerMember: hcinterval=1ms: want a duration of at least 100ms",
		"<Proxy balancer://c>\nBalancerMember http://one.test\nProxySet lbmethod=best\n</Proxy>":               "x.conf:4: ProxySet: lbmethod=best is not known: byrequests, bytraffic, bybusyness, heartbeat, random2, first, leasttime, hash are",
		"<Proxy balancer://c>\nBalancerMember http://one.test\nProxySet color=red\n</Proxy>":                   `x.conf:4: ProxySet: parameter "color" of a balancer is not known`,
		"<Proxy balancer://c>\nBalancerMember http://one.test\n</Proxy>\nProxyPass / balancer://c/ nonce=None": "x.conf:5: ProxyPass: nonce=None is not supported: changes without one could be forged",
		"ProxyHCExpr x {%{REQUEST_STATUS}}":                                                                    "x.conf:2: ProxyHCExpr: expression: byte 18: want an operator",
		"ProxyHCTemplate x loadfactor=2":                                                                       `x.conf:2: ProxyHCTemplate: "loadfactor=2" may not stand in a template`,
		"BalancerGrowth many":                                                                                  `x.conf:2: BalancerGrowth: "many" is no number`,
	} {
		_, _, err := read("Listen 80\n" + text)
		require.EqualError(t, err, want, text)
	}
}
