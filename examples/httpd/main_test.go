package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/modproxy/modproxy/examples/httpd/apache"
	"github.com/modproxy/modproxy/examples/programs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheckOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.conf")
	require.NoError(t, os.WriteFile(file, []byte("Listen 80\n<IfDefine X>\nProxyPass / http://b/\n</IfDefine>\n<IfDefine !X>\nNonsense\n</IfDefine>\n"), 0o644))
	var out bytes.Buffer
	require.Zero(t, run([]string{"-t", "-f", file, "-D", "X"}, io.Discard, &out, nil, nil))
	require.Equal(t, "Syntax OK\n", out.String())
	out.Reset()
	require.Equal(t, 1, run([]string{"-t", "-f", file}, io.Discard, &out, nil, nil))
	require.Equal(t, "httpd: "+file+":6: Nonsense is not known\n", out.String())
	require.NoError(t, os.WriteFile(file, []byte("Listen 80\nNonsense\nProxyPass /a/ http://b/a\nKeepAlive Maybe\n"), 0o644))
	out.Reset()
	require.Equal(t, 1, run([]string{"-t", "-f", file}, io.Discard, &out, nil, nil))
	const slashes = "only one of /a/ and http://b/a ends in a slash: paths will be joined wrongly"
	require.Equal(t, "httpd: "+file+":2: Nonsense is not known\nhttpd: "+file+":3: warning: "+slashes+"\nhttpd: "+file+":4: KeepAlive is On or Off\n", out.String())
	out.Reset()
	var problems apache.Problems
	require.Equal(t, 1, run([]string{"-t", "-json", "-f", file}, &out, io.Discard, nil, nil))
	require.NoError(t, json.Unmarshal(out.Bytes(), &problems))
	require.Equal(t, apache.Problems{
		{File: file, Line: 2, Directive: "Nonsense", Message: "Nonsense is not known", Severity: apache.SeverityError},
		{File: file, Line: 3, Directive: "ProxyPass", Message: slashes, Severity: apache.SeverityWarning},
		{File: file, Line: 4, Directive: "KeepAlive", Message: "KeepAlive is On or Off", Severity: apache.SeverityError},
	}, problems)
	require.NoError(t, os.WriteFile(file, []byte("Listen 80\nProxyPass /a/ http://b/a\n"), 0o644))
	out.Reset()
	require.Zero(t, run([]string{"-t", "-f", file}, io.Discard, &out, nil, nil))
	require.Equal(t, "httpd: "+file+":2: warning: "+slashes+"\nSyntax OK\n", out.String())
	out.Reset()
	require.Zero(t, run([]string{"-t", "-json", "-f", file}, &out, io.Discard, nil, nil))
	require.NoError(t, json.Unmarshal(out.Bytes(), &problems))
	require.Len(t, problems, 1)
	require.Equal(t, 1, run([]string{"-t", "-json", "-f", file + "none"}, io.Discard, io.Discard, nil, nil))
	require.Equal(t, 2, run([]string{"-listen", "x"}, io.Discard, io.Discard, nil, nil))
	require.Equal(t, 2, run([]string{"x"}, io.Discard, io.Discard, nil, nil))
	require.Equal(t, 1, run([]string{"-f", file + "none"}, io.Discard, io.Discard, nil, nil))
}

func TestDemonstration(t *testing.T) {
	out, errs := &programs.Output{}, &programs.Output{}
	signals, started, done := make(chan os.Signal), make(chan *apache.Site, 1), make(chan int, 1)
	go func() { done <- run(nil, out, errs, signals, func(s *apache.Site) { started <- s }) }()
	var site *apache.Site
	select {
	case site = <-started:
	case code := <-done:
		t.Fatalf("the program ended with %d: %s", code, errs)
	}
	defer func() {
		signals <- syscall.SIGTERM
		require.Zero(t, <-done)
	}()
	addr := site.Listeners()[0].Addr.String()
	get := func(path, cookie string) (*http.Response, string) {
		r, err := http.NewRequest("GET", "http://"+addr+path, nil)
		require.NoError(t, err)
		r.Host, r.Close = "demo", true
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp, string(b)
	}
	_, text := get("/", "")
	require.Contains(t, text, "/server-status")
	for _, name := range []string{"one", "two", "three"} {
		_, text = get("/app/x", "")
		require.True(t, strings.HasPrefix(text, "backend "+name+" got\n\nGET /x HTTP/1.1\n"), text)
	}
	resp, _ := get("/app/go", "")
	require.Equal(t, "http://demo/app/there", resp.Header.Get("Location"))
	resp, text = get("/login", "")
	cookie, _, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	name, _, _ := strings.Cut(strings.TrimPrefix(text, "backend "), " ")
	require.Equal(t, "ROUTEID=."+name, cookie)
	for range 3 {
		_, text = get("/app/x", cookie)
		require.Contains(t, text, "backend "+name+" got")
	}
	_, text = get("/balancer-manager", "")
	require.Contains(t, text, "balancer://demo")
	_, text = get("/server-status", "")
	require.Contains(t, text, "<td>usable")
	require.Contains(t, out.String(), "open http://127.0.0.1:")
	resp, _ = get("/nothing", "")
	require.Equal(t, 404, resp.StatusCode)
}
