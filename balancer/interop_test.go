package balancer

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// need finds a program, or skips the test; with MODPROXY_INTEROP=require the
// skip is a failure.
func need(t *testing.T, program, debian string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		text := fmt.Sprintf("%s is not installed: Debian package %s", program, debian)
		if os.Getenv("MODPROXY_INTEROP") == "require" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	return path
}

// startHTTPD runs Apache with these directives and returns its URL.
func startHTTPD(t *testing.T, directives string) string {
	program := need(t, "apache2", "apache2")
	const modules = "/usr/lib/apache2/modules"
	dir, err := os.MkdirTemp("", "httpd") // t.TempDir's name may be too long for sockets
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	var conf strings.Builder
	for _, m := range []string{"mpm_event", "authz_core", "proxy", "proxy_http", "proxy_balancer", "slotmem_shm", "lbmethod_byrequests", "lbmethod_bybusyness", "lbmethod_bytraffic"} {
		file := filepath.Join(modules, "mod_"+m+".so")
		if _, err := os.Stat(file); err == nil {
			fmt.Fprintf(&conf, "LoadModule %s_module %s\n", m, file)
		}
	}
	fmt.Fprintf(&conf, "ServerRoot %[1]s\nServerName localhost\nPidFile %[1]s/pid\nDefaultRuntimeDir %[1]s\nMutex file:%[1]s default\nErrorLog %[1]s/error.log\nListen %[2]s\nStartServers 1\nThreadsPerChild 25\nMaxRequestWorkers 25\n", dir, addr)
	if u, err := user.Current(); err == nil && u.Uid == "0" {
		conf.WriteString("User www-data\nGroup www-data\n")
		require.NoError(t, os.Chmod(dir, 0o777))
	}
	conf.WriteString(directives)
	file := filepath.Join(dir, "httpd.conf")
	require.NoError(t, os.WriteFile(file, []byte(conf.String()), 0o644))
	cmd := exec.Command(program, "-D", "FOREGROUND", "-f", file)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		ended := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		ended.Stop()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Logf("httpd said: %s%s", out.String(), log)
		}
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 30*time.Second, 20*time.Millisecond, "httpd does not accept")
	return "http://" + addr
}

// TestSequenceOfHTTPD: the same members with the same factors are chosen in the
// same order by the real httpd and by us.
func TestSequenceOfHTTPD(t *testing.T) {
	const requests = 24
	var backends []string
	for i := range 4 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, string(rune('a'+i)))
		}))
		t.Cleanup(s.Close)
		backends = append(backends, s.URL)
	}
	cases := []struct {
		method  string
		factors []float64
		flags   []string
	}{
		{"byrequests", []float64{1, 1, 1}, nil},
		{"byrequests", []float64{3, 2, 1}, nil},
		{"byrequests", []float64{1, 1, 1, 2}, nil},
		{"byrequests", []float64{5, 1}, nil},
		{"byrequests", []float64{7, 3}, nil},
		{"byrequests", []float64{1.25, 1, 2.5}, nil},
		{"bybusyness", []float64{3, 2, 1}, nil},
		{"byrequests", []float64{1, 1, 1}, []string{"", "", "H"}},
		{"byrequests", []float64{1, 1, 1}, []string{"", "D", "R"}},
		{"byrequests", []float64{1, 1, 1, 1}, []string{"N", "", "R", "R"}},
		{"byrequests", []float64{1, 2, 1}, []string{"D", "S", "H"}},
	}
	var conf strings.Builder
	for i, c := range cases {
		fmt.Fprintf(&conf, "<Proxy balancer://c%d>\n", i)
		for j, f := range c.factors {
			fmt.Fprintf(&conf, "BalancerMember %s loadfactor=%v", backends[j], f)
			if c.flags != nil && c.flags[j] != "" {
				fmt.Fprintf(&conf, " status=+%s", c.flags[j])
			}
			conf.WriteString("\n")
		}
		fmt.Fprintf(&conf, "ProxySet lbmethod=%s\n</Proxy>\nProxyPass /c%d/ balancer://c%d/\n", c.method, i, i)
	}
	httpd := startHTTPD(t, conf.String())
	client := &http.Client{}
	defer client.CloseIdleConnections()
	for i, c := range cases {
		t.Run(fmt.Sprint(c.method, c.factors, c.flags), func(t *testing.T) {
			m, err := MethodByName(c.method)
			require.NoError(t, err)
			var list []MemberConfig
			for j, f := range c.factors {
				mc := MemberConfig{URL: backends[j], LoadFactor: f}
				if c.flags != nil {
					mc.Flags, err = ParseFlags(c.flags[j], 0)
					require.NoError(t, err)
				}
				list = append(list, mc)
			}
			b := newTest(t, Config{Method: m}, list...)
			var theirs, ours string
			for range requests {
				resp, err := client.Get(fmt.Sprintf("%s/c%d/", httpd, i))
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				_ = resp.Body.Close()
				require.Equal(t, 200, resp.StatusCode)
				theirs += string(body)
				ours += send(t, b)
			}
			t.Logf("httpd %s", theirs)
			require.Equal(t, theirs, ours)
		})
	}
}
