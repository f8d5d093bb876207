package apache

import (
	"context"
	"fmt"
	"io"
	"net"
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

	"github.com/modproxy/modproxy/examples/programs"
)

// program is the command at work in this process.
type program struct {
	t       *testing.T
	file    string
	signals chan os.Signal
	server  *Site
	stderr  *programs.Output
	done    chan int
	stopped sync.Once
}

// start runs the command with a configuration; backend.test is the backend.
func start(t *testing.T, config string, backend http.Handler, args ...string) *program {
	back := httptest.NewServer(backend)
	t.Cleanup(back.Close)
	file := filepath.Join(t.TempDir(), "x.conf")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o644))
	args = append([]string{"-listen", "80=127.0.0.1:0", "-listen", "81=127.0.0.1:0", "-resolve", "backend.test:80=" + back.Listener.Addr().String()}, args...)
	return startFile(t, file, args...)
}

// startFile runs the command with a file of configuration.
func startFile(t *testing.T, file string, args ...string) *program {
	p := startCommand(t, io.Discard, append([]string{"-f", file}, args...)...)
	p.file = file
	require.Contains(t, p.stderr.String(), "ready\n")
	return p
}

// startCommand runs the command until the end of the test.
func startCommand(t *testing.T, stdout io.Writer, args ...string) *program {
	p := &program{t: t, signals: make(chan os.Signal), stderr: &programs.Output{}, done: make(chan int, 1)}
	started := make(chan *Site, 1)
	go func() { p.done <- run(args, stdout, p.stderr, p.signals, func(s *Site) { started <- s }) }()
	select {
	case p.server = <-started:
	case code := <-p.done:
		t.Fatalf("the program ended with %d: %s", code, p.stderr)
	}
	t.Cleanup(p.stop)
	return p
}

// addr is where the command listens, if at one place.
func (p *program) addr() string {
	for _, addr := range p.server.addresses() {
		return addr
	}
	return ""
}

func (p *program) write(config string) {
	require.NoError(p.t, os.WriteFile(p.file, []byte(config), 0o644))
}

func (p *program) stop() {
	p.stopped.Do(func() {
		p.signals <- syscall.SIGTERM
		require.Zero(p.t, <-p.done)
	})
}

// get asks for host+path on a configured port.
func (p *program) get(port, url string, change ...func(r *http.Request)) (*http.Response, string) {
	p.t.Helper()
	addr := p.server.addresses()[port]
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequest("GET", "http://"+url, nil)
	require.NoError(p.t, err)
	for _, c := range change {
		c(req)
	}
	resp, err := tr.RoundTrip(req)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	return resp, string(b)
}

// echo answers with what it was sent.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Xff", r.Header.Get("X-Forwarded-For"))
	w.Header().Set("X-Via", r.Header.Get("Via"))
	if strings.HasSuffix(r.URL.Path, "/moved") {
		w.Header().Set("Location", "http://backend.test/app/there")
		w.WriteHeader(http.StatusFound)
		return
	}
	if strings.HasSuffix(r.URL.Path, "/missing") {
		w.WriteHeader(http.StatusNotFound)
	}
	fmt.Fprintf(w, "%s %s", r.Host, r.RequestURI)
})

// TestReverseConfiguration runs conf/reverse.conf as it stands.
func TestReverseConfiguration(t *testing.T) {
	config, err := os.ReadFile("../conf/reverse.conf")
	require.NoError(t, err)
	p := start(t, string(config), echo, "-resolve", "backend.local:80=127.0.0.1:1")
	p.stop()
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/app/moved" {
			w.Header().Set("Location", "http://backend.local/app/there?x")
			w.WriteHeader(http.StatusFound)
		}
		echo(w, r)
	}))
	defer back.Close()
	p = start(t, string(config), echo, "-resolve", "backend.local:80="+back.Listener.Addr().String())
	resp, text := p.get("80", "proxy.example.com/app/x?y=1")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "proxy.example.com /app/x?y=1", text)
	require.Equal(t, "127.0.0.1", resp.Header.Get("X-Xff"))
	resp, _ = p.get("80", "proxy.example.com/other")
	require.Equal(t, 404, resp.StatusCode)
	resp, _ = p.get("80", "proxy.example.com/app/moved")
	require.Equal(t, 302, resp.StatusCode)
	require.Equal(t, "http://proxy.example.com/app/there?x", resp.Header.Get("Location"))
}

func TestServing(t *testing.T) {
	dir := t.TempDir()
	config := `
Listen 80
Listen 127.0.0.1:81
ServerName main.test
LogFormat "%v %U %>s" short
CustomLog ` + dir + `/access.log short
ErrorLog ` + dir + `/error.log
LogLevel warn proxy:trace2
ProxyVia On
ProxyPass /main http://backend.test/main
<VirtualHost *:80>
    ServerName one.test
    ServerAlias *.one.test
    ProxyPass /app/no !
    ProxyPass /app/ http://backend.test/app/ timeout=5 max=10
    ProxyPassReverse /app/ http://backend.test/app/
    ProxyPassMatch ^/img/(.*)\.png$ http://backend.test/pictures/$1
    <Location /loc>
        ProxyPass http://backend.test/inner
        ProxyPreserveHost On
    </Location>
    <Location /private>
        ProxyPass http://backend.test/private
        Require ip 192.0.2.0/24
    </Location>
    <Location /public>
        ProxyPass http://backend.test/public
        <RequireAll>
            Require all granted
            Require not ip 192.0.2.0/24
        </RequireAll>
    </Location>
    <Proxy "http://backend.test/app/secret*">
        Require all denied
    </Proxy>
    <Location /app/secret/open>
        Require all granted
    </Location>
    <Location /status>
        SetHandler server-status
    </Location>
</VirtualHost>
<VirtualHost *:80>
    ServerName two.test
    ProxyAddHeaders Off
    ProxyErrorOverride On 404
    ProxyPassInherit Off
    ProxyPass / http://backend.test/two/
</VirtualHost>
<VirtualHost *:81>
    ServerName three.test
    ProxyPass / http://backend.test/three/
</VirtualHost>
`
	p := start(t, config, echo)
	for _, tc := range []struct {
		port, url string
		status    int
		want      string
	}{
		{"80", "one.test/app/x", 200, "backend.test /app/x"},
		{"80", "ONE.test:80/app/x", 200, "backend.test /app/x"},
		{"80", "deep.one.test/app/x", 200, "backend.test /app/x"},
		{"80", "unknown.test/app/x", 200, "backend.test /app/x"}, // the first is the default
		{"80", "one.test/main/x", 200, "backend.test /main/x"},   // the main server's rules
		{"80", "one.test/app/no/x", 404, ""},
		{"80", "one.test/app", 404, ""},
		{"80", "one.test/img/a%20b.png", 200, "backend.test /pictures/a%20b"},
		{"80", "one.test/loc/x", 200, "one.test /inner/x"},
		{"80", "one.test/locx", 404, ""},
		{"80", "one.test/private/x", 403, ""},
		{"80", "one.test//private/x", 403, ""},
		{"80", "one.test/app/../private/x", 403, ""},
		{"80", "one.test/%70rivate/x", 403, ""},
		{"80", "one.test/x%2F..%2Fprivate", 404, ""},
		{"80", "one.test/app/x%2Fy", 404, ""}, // AllowEncodedSlashes is off
		{"80", "one.test/public/x", 200, "backend.test /public/x"},
		{"80", "one.test/app/secret/x", 403, ""},
		{"80", "one.test/app/%73ecret/x", 403, ""},
		{"80", "one.test/app/secret/open/x", 200, "backend.test /app/secret/open/x"},
		{"80", "two.test/main/x", 200, "backend.test /two/main/x"}, // not inherited
		{"127.0.0.1:81", "any.test/x", 200, "backend.test /three/x"},
	} {
		resp, text := p.get(tc.port, tc.url)
		require.Equal(t, tc.status, resp.StatusCode, "%s: %s", tc.url, text)
		if tc.want != "" {
			require.Equal(t, tc.want, text, tc.url)
		}
	}
	resp, _ := p.get("80", "one.test/app/moved")
	require.Equal(t, "http://one.test/app/there", resp.Header.Get("Location"))
	require.Equal(t, "1.1 one.test", resp.Header.Get("X-Via"))
	resp, text := p.get("80", "two.test/missing")
	require.Equal(t, "404 Not Found\n", text)
	require.Empty(t, resp.Header.Get("X-Xff"))
	resp, text = p.get("80", "one.test/status")
	require.Equal(t, 200, resp.StatusCode)
	require.Contains(t, text, "http://backend.test")
	p.stop()
	log, err := os.ReadFile(dir + "/access.log")
	require.NoError(t, err)
	require.Contains(t, string(log), "one.test /app/x 200\n")
	log, err = os.ReadFile(dir + "/error.log")
	require.NoError(t, err)
	require.Contains(t, string(log), "level=TRACE1 msg=\"proxy: request mapped\"")
}

// TestReloadLosesNothing: requests go on while the configuration changes, and
// a bad one changes nothing.
func TestReloadLosesNothing(t *testing.T) {
	config := func(n int) string {
		return fmt.Sprintf("Listen 80\nProxyPass / http://backend.test/v%d/\n", n)
	}
	p := start(t, config(0), echo)
	var failed, served atomic.Int64
	quit := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
				}
				resp, err := http.Get("http://" + p.server.addresses()["80"] + "/x")
				if err != nil {
					failed.Add(1)
					continue
				}
				b, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != 200 || !strings.Contains(string(b), "/v") {
					failed.Add(1)
				}
				served.Add(1)
			}
		})
	}
	for n := 1; n <= 10; n++ {
		p.write(config(n))
		before := served.Load()
		p.signals <- []os.Signal{syscall.SIGHUP, syscall.SIGUSR1}[n%2]
		require.Eventually(t, func() bool { return strings.Count(p.stderr.String(), "reloaded\n") == n && served.Load() > before+20 }, 10*time.Second, time.Millisecond)
	}
	p.write("Listen 80\nNonsense\n")
	p.signals <- syscall.SIGHUP
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "Nonsense is not known") }, 20*time.Second, time.Millisecond)
	close(quit)
	wg.Wait()
	http.DefaultClient.CloseIdleConnections()
	require.Zero(t, failed.Load(), "of %d", served.Load())
	_, text := p.get("80", "h.test/x")
	require.Equal(t, "backend.test /v10/x", text)
}

// TestReloadMovesListeners: ports come and go.
func TestReloadMovesListeners(t *testing.T) {
	var free []string
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		free = append(free, ln.Addr().String())
		require.NoError(t, ln.Close())
	}
	file := filepath.Join(t.TempDir(), "x.conf")
	config := func(i int) string { return "Listen " + free[i] + "\nProxyPass / http://backend.test/" }
	require.NoError(t, os.WriteFile(file, []byte(config(0)), 0o644))
	back := httptest.NewServer(echo)
	t.Cleanup(back.Close)
	p := startFile(t, file, "-resolve", "backend.test:80="+back.Listener.Addr().String())
	p.write(config(1))
	p.signals <- syscall.SIGHUP
	require.Eventually(t, func() bool { return p.server.addresses()[free[1]] != "" }, 20*time.Second, time.Millisecond)
	require.Empty(t, p.server.addresses()[free[0]])
	resp, _ := p.get(free[1], "h.test/x")
	require.Equal(t, 200, resp.StatusCode)
}

// TestHostsByAddress: a virtual host for one address is no other's, though one
// listener takes all of them.
func TestHostsByAddress(t *testing.T) {
	named := func(addresses, name string) *host {
		return &host{name: name, scope: &scope{addresses: strings.Fields(addresses), names: []string{name}}}
	}
	st := &generation{byIP: true, hosts: []*host{{name: "main"}, named("127.0.0.2:80", "inside"), named("*:80", "outside"), named("*:80", "other"), named("10.0.0.1:80", "far")}}
	for at, want := range map[string]string{
		"127.0.0.1 x": "outside", "127.0.0.1 inside": "outside", "127.0.0.1 other": "other",
		"127.0.0.2 x": "inside", "127.0.0.2 outside": "inside", "10.0.0.1 other": "far",
	} {
		ip, name, _ := strings.Cut(at, " ")
		r := httptest.NewRequest("GET", "http://"+name+"/", nil)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(ip), Port: 80}))
		require.Equal(t, want, st.host("80", r).name, at)
	}
	st.opt.Listen = map[string]string{"80": "127.0.0.1:8080"}
	require.Equal(t, "far", st.host("80", httptest.NewRequest("GET", "http://far/", nil)).name)
}
