package apache

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/ajp"
	"github.com/modproxy/modproxy/examples/programs"
)

// startAJP runs a container of our own, and returns its address.
func startAJP(t *testing.T, s *ajp.Server) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return l.Addr().String()
}

// TestAJPConfiguration runs conf/ajp.conf as it stands, before the real Tomcat.
func TestAJPConfiguration(t *testing.T) {
	back := programs.Tomcat(t, programs.TomcatOptions{})
	config, err := os.ReadFile("../conf/ajp.conf")
	require.NoError(t, err)
	p := start(t, string(config), echo, "-resolve", "localhost:8009="+back.Addr)
	resp, text := p.get("80", "tomcat.example.com/index.html")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "tomcat root\n", text)
	resp, _ = p.get("80", "tomcat.example.com/examples") // a redirect of Tomcat's own
	require.Equal(t, 302, resp.StatusCode)
	require.Contains(t, []string{"/examples/", "http://tomcat.example.com/examples/"}, resp.Header.Get("Location"))
	resp, text = p.get("80", "tomcat.example.com/examples/servlets/servlet/SessionExample")
	require.Equal(t, 200, resp.StatusCode)
	require.Contains(t, resp.Header.Get("Set-Cookie"), ".node1")
	require.Contains(t, text, "Session")
	_, text = p.get("80", "tomcat.example.com/examples/servlets/servlet/RequestInfoExample/x?a=b")
	require.Contains(t, text, "/examples/servlets/servlet/RequestInfoExample/x")
	require.Contains(t, text, "127.0.0.1")
}

// TestAJPParameters has our own server as container.
func TestAJPParameters(t *testing.T) {
	var seen atomic.Pointer[http.Request]
	addr := startAJP(t, &ajp.Server{Secret: "s3cret", PacketSize: 16384, AllowAttribute: func(name string) bool { return name == "ORG" }, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r)
		if r.URL.Path == "/app/moved" {
			w.Header().Set("Location", "ajp://ajp.test/app/there")
			w.WriteHeader(302)
		}
		fmt.Fprint(w, r.Host, " ", r.RequestURI)
	})})
	var pings atomic.Int64
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 100)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					if n == 5 && b[4] == 10 {
						pings.Add(1)
					}
				}
			}()
		}
	}()
	p := start(t, `
LimitRequestFieldSize 32768
SetEnvIf Request_URI ^/app/env AJP_ORG=acme
ProxyPass /silent/ ajp://silent.test/ ping=100ms
ProxyPass /wrong/ ajp://wrong.test/ secret=wrong
ProxyPass /app/ ajp://ajp.test/app/ secret=s3cret ping=30 iobuffersize=16384
ProxyPassReverse /app/ ajp://ajp.test/app/
<Proxy balancer://mixed>
    BalancerMember ajp://ajp.test secret=s3cret
</Proxy>
ProxyPass /lb/ balancer://mixed/app/
`, echo, "-resolve", "ajp.test:8009="+addr, "-resolve", "wrong.test:8009="+addr, "-resolve", "silent.test:8009="+silent.Addr().String())
	resp, text := p.get("80", "front.test/app/x%20y?a=b")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "front.test /app/x%20y?a=b", text)
	require.NotContains(t, seen.Load().Header, "X-Forwarded-For")
	require.True(t, strings.HasPrefix(seen.Load().RemoteAddr, "127.0.0.1:"))
	_, text = p.get("80", "front.test/lb/y")
	require.Equal(t, "front.test /app/y", text)
	require.NotContains(t, seen.Load().Header, "X-Forwarded-For")
	resp, _ = p.get("80", "front.test/wrong/x")
	require.Equal(t, 403, resp.StatusCode)
	_, _ = p.get("80", "front.test/app/env")
	value, _ := ajp.AttributesFrom(seen.Load().Context()).Get("ORG")
	require.Equal(t, "acme", value)
	resp, _ = p.get("80", "front.test/app/moved")
	require.Equal(t, "http://front.test/app/there", resp.Header.Get("Location"))
	resp, _ = p.get("80", "front.test/app/long", func(r *http.Request) { r.Header.Set("X-Long", strings.Repeat("l", 10000)) })
	require.Equal(t, 200, resp.StatusCode)
	resp, _ = p.get("80", "front.test/app/long", func(r *http.Request) { r.Header.Set("X-Long", strings.Repeat("l", 20000)) })
	require.Equal(t, 431, resp.StatusCode)
	resp, _ = p.get("80", "front.test/silent/x")
	require.Equal(t, 503, resp.StatusCode)
	require.EqualValues(t, 2, pings.Load())
}

// TestCPINGBelongsToAJP refuses it for HTTP.
func TestCPINGBelongsToAJP(t *testing.T) {
	p := start(t, "ProxyPass / http://backend.test/\n", echo)
	p.write("<Proxy balancer://a>\nBalancerMember http://backend.test hcmethod=CPING\n</Proxy>\nProxyPass / balancer://a/\n")
	var errs programs.Output
	require.NotZero(t, run([]string{"-f", p.file, "-listen", "80=127.0.0.1:0"}, io.Discard, &errs, nil, nil))
	require.Contains(t, errs.String(), "x.conf:2: BalancerMember: hcmethod=CPING is for ajp:// alone")
}

// TestBalancerOfTomcats keeps sessions at their Tomcat by its jvmRoute, sees by
// CPING that one is gone, and goes on with the other.
func TestBalancerOfTomcats(t *testing.T) {
	const who = `<%@ page session="true" contentType="text/plain" %><% Integer n = (Integer) session.getAttribute("n"); n = n == null ? 1 : n + 1; session.setAttribute("n", n); out.print(session.getId() + " " + n); %>`
	pages := map[string]string{"who.jsp": who}
	one := programs.Tomcat(t, programs.TomcatOptions{Route: "node1", Pages: pages})
	two := programs.Tomcat(t, programs.TomcatOptions{Route: "node2", Pages: pages})
	p := start(t, `
<Proxy balancer://tomcats>
    BalancerMember ajp://one.test route=node1 ping=30 hcmethod=CPING hcinterval=100ms hcfails=1
    BalancerMember ajp://two.test route=node2 ping=30 hcmethod=CPING hcinterval=100ms hcfails=1
    ProxySet stickysession=JSESSIONID|jsessionid
</Proxy>
ProxyPass / balancer://tomcats/
`, echo, "-resolve", "one.test:8009="+one.Addr, "-resolve", "two.test:8009="+two.Addr)
	sessions := make(map[string]string)
	// On a busy machine a Tomcat may miss its first check, and come back later.
	for begun := time.Now(); len(sessions) < 2 && time.Since(begun) < time.Minute; {
		resp, text := p.get("80", "front.test/who.jsp")
		require.Equal(t, 200, resp.StatusCode, text)
		id, _, _ := strings.Cut(text, " ")
		_, route, _ := strings.Cut(id, ".")
		sessions[route] = id
	}
	require.Len(t, sessions, 2)
	for route, id := range sessions {
		for n := range 4 {
			how := withCookie("JSESSIONID=" + id)
			url := "front.test/who.jsp"
			if n%2 == 1 {
				how, url = func(*http.Request) {}, url+";jsessionid="+id
			}
			_, text := p.get("80", url, how)
			require.Equal(t, fmt.Sprint(id, " ", n+2), text, route)
		}
	}
	one.Kill()
	resp, text := p.get("80", "front.test/who.jsp", withCookie("JSESSIONID="+sessions["node1"]))
	require.Equal(t, 200, resp.StatusCode)
	require.Contains(t, text, ".node2")
	st := p.server.acquire()
	t.Cleanup(st.release)
	require.Eventually(t, func() bool {
		for _, m := range st.pools[0].Members() {
			if failed, _ := m.CheckFailed(); failed {
				return m.Route() == "node1"
			}
		}
		return false
	}, 30*time.Second, 20*time.Millisecond)
	_, text = p.get("80", "front.test/who.jsp", withCookie("JSESSIONID="+sessions["node2"]))
	require.Equal(t, sessions["node2"]+" 6", text)
}
