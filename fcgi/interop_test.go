package fcgi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
)

// onBoth runs a test against php-fpm over TCP and over a unix-domain socket.
func onBoth(t *testing.T, c programs.PHPFPMOptions, test func(t *testing.T, f *phpFPM)) {
	for name, unix := range map[string]bool{"tcp": false, "unix": true} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.Unix = unix
			test(t, startPHPFPM(t, c))
		})
	}
}

// transport returns a transport to php-fpm that is closed at the end.
func (f *phpFPM) transport(t testing.TB) *Transport {
	b, err := backend.Parse(f.target())
	require.NoError(t, err)
	b.Timeout, b.MaxConns = 20*time.Second, 4
	t.Cleanup(func() { _ = b.Close() })
	return &Transport{Backend: b}
}

// front serves requests by php-fpm through a proxy.Handler, with the URL's path
// below the directory of scripts.
func (f *phpFPM) front(t testing.TB, tr *Transport) (*httptest.Server, *proxy.Handler) {
	h := &proxy.Handler{Target: &url.URL{Scheme: "fcgi", Host: "localhost", Path: f.Dir + "/"}, Prefix: "/", AllowEncodedSlashes: true, Transport: tr}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s, h
}

func get(t testing.TB, c *http.Client, at string) (*http.Response, string) {
	t.Helper()
	resp, err := c.Get(at)
	require.NoError(t, err)
	return resp, readAll(t, resp)
}

func readAll(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(b)
}

const envScript = `<?php header('Content-Type: application/json'); ksort($_SERVER);
echo json_encode(['env' => $_SERVER, 'body' => base64_encode(file_get_contents('php://input'))]);`

// envAnswer is what envScript tells.
type envAnswer struct {
	Env  map[string]any
	Body []byte
}

func parseEnv(t testing.TB, body string) envAnswer {
	t.Helper()
	var a envAnswer
	require.NoError(t, json.Unmarshal([]byte(body), &a), body)
	return a
}

func TestPlainClientRunsAScript(t *testing.T) {
	onBoth(t, programs.PHPFPMOptions{}, func(t *testing.T, f *phpFPM) {
		path := f.AddFile("env.php", envScript)
		c := &http.Client{Transport: f.transport(t)}
		resp, body := get(t, c, "fcgi://localhost"+path+"/info?a=b")
		require.Equal(t, 200, resp.StatusCode)
		env := parseEnv(t, body).Env
		require.Equal(t, path, env["SCRIPT_FILENAME"])
		require.Equal(t, "/info", env["PATH_INFO"])
		require.Equal(t, "a=b", env["QUERY_STRING"])
	})
}

// The table of variables, as the real server was seen to send it.
func TestVariablesBehindHandler(t *testing.T) {
	onBoth(t, programs.PHPFPMOptions{}, func(t *testing.T, f *phpFPM) {
		f.AddFile("env.php", envScript)
		s, _ := f.front(t, f.transport(t))
		r, err := http.NewRequest("POST", s.URL+"/sub/../env.php/path%20info/x%2Fy?a=1&b=%20", strings.NewReader("abc"))
		require.NoError(t, err)
		r.URL.Opaque = "//" + r.URL.Host + "/sub/../env.php/path%20info/x%2Fy"
		r.Header.Set("X-A-B", "1")
		r.Header["X_A_C"] = []string{"2"}
		r.Header.Set("Proxy", "http://evil/")
		r.Header.Set("Authorization", "Basic YTpi")
		r.Header.Set("Content-Type", "text/x-test")
		r.Header["Cookie"] = []string{"a=1", "b=2"}
		r.Header["X-Two"] = []string{"1", "2"}
		resp, err := s.Client().Do(r)
		require.NoError(t, err)
		a := parseEnv(t, readAll(t, resp))
		require.Equal(t, "abc", string(a.Body))
		host := strings.TrimPrefix(s.URL, "http://")
		_, port, _ := strings.Cut(host, ":")
		want := map[string]any{
			"SCRIPT_FILENAME": f.Dir + "/env.php", "SCRIPT_NAME": "/env.php", "PATH_INFO": "/path info/x/y",
			"PATH_TRANSLATED": f.Dir + "/path info/x/y", "REQUEST_URI": "/sub/../env.php/path%20info/x%2Fy?a=1&b=%20",
			"QUERY_STRING": "a=1&b=%20", "DOCUMENT_ROOT": f.Dir, "CONTEXT_DOCUMENT_ROOT": f.Dir, "REQUEST_METHOD": "POST",
			"SERVER_PROTOCOL": "HTTP/1.1", "GATEWAY_INTERFACE": "CGI/1.1", "REQUEST_SCHEME": "http", "SERVER_NAME": "127.0.0.1",
			"SERVER_PORT": port, "SERVER_ADDR": "127.0.0.1", "REMOTE_ADDR": "127.0.0.1", "FCGI_ROLE": "RESPONDER",
			"CONTENT_LENGTH": "3", "CONTENT_TYPE": "text/x-test", "HTTP_X_A_B": "1", "HTTP_AUTHORIZATION": "Basic YTpi",
			"HTTP_COOKIE": "a=1; b=2", "HTTP_X_TWO": "1, 2", "HTTP_HOST": host,
		}
		for name, value := range want {
			require.Equal(t, value, a.Env[name], name)
		}
		require.NotEmpty(t, a.Env["REMOTE_PORT"])
		for _, name := range []string{"HTTP_X_A_C", "HTTP_PROXY", "HTTPS", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"} {
			require.NotContains(t, a.Env, name)
		}
	})
}

func TestAnswersOfPHP(t *testing.T) {
	f := startPHPFPM(t, programs.PHPFPMOptions{})
	f.AddFile("404.php", `<?php http_response_code(404); echo "no";`)
	f.AddFile("location.php", `<?php header('Location: /env.php?a=1');`)
	f.AddFile("etag.php", `<?php header('ETag: "x"'); if (($_SERVER['HTTP_IF_NONE_MATCH'] ?? '') == '"x"') { http_response_code(304); exit; } echo "body";`)
	f.AddFile("long.php", `<?php header('X-Long: '.str_repeat('x', 20000)); echo "body";`)
	f.AddFile("big.php", `<?php $s = str_repeat('0123456789abcdef', 64); for ($i = 0; $i < 10240; $i++) echo $s;`)
	f.AddFile("length.php", `<?php header('Content-Length: 5'); echo "12345";`)
	s, _ := f.front(t, f.transport(t))
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer c.CloseIdleConnections()
	resp, body := get(t, c, s.URL+"/404.php")
	require.Equal(t, 404, resp.StatusCode)
	require.Equal(t, "no", body)
	resp, _ = get(t, c, s.URL+"/location.php")
	require.Equal(t, 302, resp.StatusCode)
	require.Equal(t, "/env.php?a=1", resp.Header.Get("Location"))
	r, _ := http.NewRequest("GET", s.URL+"/etag.php", nil)
	r.Header.Set("If-None-Match", `"x"`)
	resp, err := c.Do(r)
	require.NoError(t, err)
	require.Empty(t, readAll(t, resp))
	require.Equal(t, 304, resp.StatusCode)
	require.Equal(t, `"x"`, resp.Header.Get("ETag"))
	resp, body = get(t, c, s.URL+"/long.php")
	require.Equal(t, 502, resp.StatusCode)
	require.NotContains(t, body, "xxx")
	resp, body = get(t, c, s.URL+"/big.php")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, strings.Repeat("0123456789abcdef", 64*10240), body)
	resp, body = get(t, c, s.URL+"/length.php")
	require.Equal(t, "12345", body)
	require.Equal(t, int64(5), resp.ContentLength)
	resp, err = c.Head(s.URL + "/big.php")
	require.NoError(t, err)
	require.Empty(t, readAll(t, resp))
	require.Equal(t, 200, resp.StatusCode)
	resp, body = get(t, c, s.URL+"/missing.php")
	require.Equal(t, 404, resp.StatusCode)
	require.Contains(t, body, "File not found")
}

func TestConnectionsToPHPAreReused(t *testing.T) {
	onBoth(t, programs.PHPFPMOptions{}, func(t *testing.T, f *phpFPM) {
		f.AddFile("pid.php", `<?php echo getmypid();`)
		tr := f.transport(t)
		s, _ := f.front(t, tr)
		_, first := get(t, s.Client(), s.URL+"/pid.php")
		for range 5 {
			_, body := get(t, s.Client(), s.URL+"/pid.php")
			require.Equal(t, first, body)
		}
		require.Equal(t, int64(1), tr.Backend.Stats().Created)
	})
}

// Children that end after some requests close their connections: that must
// not be seen.
func TestMaxRequestsOfChildren(t *testing.T) {
	onBoth(t, programs.PHPFPMOptions{More: "pm.max_requests = 3"}, func(t *testing.T, f *phpFPM) {
		f.AddFile("pid.php", `<?php echo getmypid();`)
		s, _ := f.front(t, f.transport(t))
		pids := map[string]bool{}
		for range 40 {
			resp, body := get(t, s.Client(), s.URL+"/pid.php")
			require.Equal(t, 200, resp.StatusCode)
			pids[body] = true
		}
		require.Greater(t, len(pids), 8)
	})
}

func TestBodiesReachPHP(t *testing.T) {
	onBoth(t, programs.PHPFPMOptions{}, func(t *testing.T, f *phpFPM) {
		f.AddFile("hash.php", `<?php $b = file_get_contents('php://input'); echo $_SERVER['CONTENT_LENGTH'] ?? 'none', ' ', strlen($b), ' ', md5($b) === $_GET['md5'] ? 'same' : md5($b);`)
		f.AddFile("md5.php", `<?php $b = file_get_contents('php://input'); echo md5($b), ' ', $_SERVER['CONTENT_LENGTH'] ?? 'none';`)
		s, _ := f.front(t, f.transport(t))
		for _, size := range []int{1, 16 << 10, 16<<10 + 1, 1 << 20} {
			body := bytes.Repeat([]byte("x"), size)
			var answers []string
			for _, known := range []bool{true, false} {
				var rd io.Reader = bytes.NewReader(body)
				if !known {
					rd = io.MultiReader(rd)
				}
				r, err := http.NewRequest("POST", s.URL+"/md5.php", rd)
				require.NoError(t, err)
				resp, err := s.Client().Do(r)
				require.NoError(t, err)
				require.Equal(t, 200, resp.StatusCode)
				answers = append(answers, readAll(t, resp))
			}
			require.Equal(t, answers[0], answers[1])
			require.Regexp(t, ` `+jsonInt(size)+`$`, answers[0])
		}
	})
}

func jsonInt(n int) string { b, _ := json.Marshal(n); return string(b) }

// Each flush of a script reaches the client before the next: the script waits
// for a file that is written when it has.
func TestFlushesOfScriptsArriveInTime(t *testing.T) {
	onBoth(t, programs.PHPFPMOptions{}, func(t *testing.T, f *phpFPM) {
		f.AddFile("flush.php", `<?php
while (ob_get_level()) ob_end_flush();
for ($i = 0; $i < 3; $i++) {
  echo "piece $i\n"; flush();
  for ($n = 0; $n < 2000 && !file_exists(__DIR__."/go$i"); $n++) { usleep(10000); clearstatcache(); }
}`)
		s, _ := f.front(t, f.transport(t))
		resp, err := s.Client().Get(s.URL + "/flush.php")
		require.NoError(t, err)
		defer resp.Body.Close()
		buf := make([]byte, 100)
		for i := range 3 {
			n, err := io.ReadAtLeast(resp.Body, buf, 8)
			require.NoError(t, err)
			require.Equal(t, "piece "+jsonInt(i)+"\n", string(buf[:n]))
			f.AddFile("go"+jsonInt(i), "")
		}
		_, err = resp.Body.Read(buf)
		require.Equal(t, io.EOF, err)
	})
}

func TestErrorOutputOfPHPIsLogged(t *testing.T) {
	f := startPHPFPM(t, programs.PHPFPMOptions{More: "php_admin_flag[log_errors] = on\nphp_admin_value[error_log] = \nphp_admin_flag[display_errors] = off"})
	f.AddFile("warn.php", `<?php error_log("said so"); trigger_error("watch out", E_USER_WARNING); trigger_error("fyi", E_USER_NOTICE); echo "page";`)
	f.AddFile("fatal.php", `<?php nothing();`)
	var logged programs.Output
	tr := f.transport(t)
	tr.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, _ := f.front(t, tr)
	_, body := get(t, s.Client(), s.URL+"/warn.php")
	require.Equal(t, "page", body)
	resp, _ := get(t, s.Client(), s.URL+"/fatal.php")
	require.Equal(t, 500, resp.StatusCode)
	resp, _ = get(t, s.Client(), s.URL+"/missing.php")
	require.Equal(t, 404, resp.StatusCode)
	text := logged.String()
	require.Regexp(t, `level=WARN .*watch out`, text)
	require.Regexp(t, `level=INFO .*fyi`, text)
	require.Regexp(t, `level=ERROR .*undefined function nothing`, text)
	require.Regexp(t, `level=ERROR .*Primary script unknown`, text)
	require.Regexp(t, `said so`, text)
	require.Contains(t, text, "script="+f.Dir+"/warn.php")
}

// The client gets no clean end of an answer that was cut off.
func TestChildKilledWithinTheAnswer(t *testing.T) {
	onBoth(t, programs.PHPFPMOptions{}, func(t *testing.T, f *phpFPM) {
		f.AddFile("kill.php", `<?php header('X-A: 1'); if ($_GET['n'] > 0) { echo str_repeat('x', $_GET['n']); flush(); } posix_kill(getmypid(), 9);`)
		s, _ := f.front(t, f.transport(t))
		resp, err := s.Client().Get(s.URL + "/kill.php?n=20000")
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		require.Error(t, err)
		require.LessOrEqual(t, len(b), 20000)
		resp, _ = get(t, s.Client(), s.URL+"/kill.php?n=0")
		require.Equal(t, 502, resp.StatusCode)
	})
}

// Without a child to serve them, requests do not hang.
func TestAllChildrenBusy(t *testing.T) {
	f := startPHPFPM(t, programs.PHPFPMOptions{Children: 1})
	f.AddFile("wait.php", `<?php for ($n = 0; $n < 3000 && !file_exists(__DIR__."/go"); $n++) { usleep(10000); clearstatcache(); } echo "done";`)
	f.AddFile("ok.php", `<?php echo "ok";`)
	tr := f.transport(t)
	tr.Backend.MaxConns, tr.Backend.AcquireTimeout = 1, 50*time.Millisecond
	s, _ := f.front(t, tr)
	slow := make(chan string, 1)
	go func() {
		resp, err := s.Client().Get(s.URL + "/wait.php")
		if err != nil {
			slow <- err.Error()
			return
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		slow <- string(b)
	}()
	require.Eventually(t, func() bool { return tr.Backend.Stats().Busy == 1 }, 10*time.Second, 5*time.Millisecond)
	resp, _ := get(t, s.Client(), s.URL+"/ok.php")
	require.Equal(t, 503, resp.StatusCode)

	direct := f.transport(t) // another process: its connection waits in php-fpm's backlog
	direct.Backend.Timeout = 200 * time.Millisecond
	s2, _ := f.front(t, direct)
	resp, _ = get(t, s2.Client(), s2.URL+"/ok.php")
	require.Equal(t, 504, resp.StatusCode)
	f.AddFile("go", "")
	require.Equal(t, "done", <-slow)
}

// More connections than children: idle ones make room, so that nobody waits
// for their TTL.
func TestIdleConnectionsMakeRoomForWaitingOnes(t *testing.T) {
	f := startPHPFPM(t, programs.PHPFPMOptions{Children: 2})
	f.AddFile("ok.php", `<?php usleep(20000); echo "ok";`)
	tr := f.transport(t)
	tr.Backend.MaxConns, tr.Backend.IdleTTL = 0, time.Hour
	s, _ := f.front(t, tr)
	var wg sync.WaitGroup
	for range 12 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 5 {
				resp, err := s.Client().Get(s.URL + "/ok.php")
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(b) != "ok" {
					t.Errorf("%d %q %v", resp.StatusCode, b, err)
				}
			}
		}()
	}
	wg.Wait()
}

// Requests that are repeatable survive a restart under load, or fail as the
// table of failures has it.
func TestRestartUnderLoad(t *testing.T) {
	onBoth(t, programs.PHPFPMOptions{}, func(t *testing.T, f *phpFPM) {
		f.AddFile("ok.php", `<?php echo "ok";`)
		s, _ := f.front(t, f.transport(t))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var wg sync.WaitGroup
		for range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for ctx.Err() == nil {
					resp, err := s.Client().Get(s.URL + "/ok.php")
					if err != nil {
						continue // cut: php-fpm was killed within the answer
					}
					b, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					switch {
					case resp.StatusCode == 200 && (err != nil || string(b) == "ok"):
					case resp.StatusCode == 502, resp.StatusCode == 503:
					default:
						t.Errorf("%d %q %v", resp.StatusCode, b, err)
					}
				}
			}()
		}
		for range 3 {
			f.Stop()
			f.Restart()
		}
		require.Eventually(t, func() bool {
			resp, err := s.Client().Get(s.URL + "/ok.php")
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			return resp.StatusCode == 200
		}, 20*time.Second, 10*time.Millisecond)
		cancel()
		wg.Wait()
	})
}

// Two pools of php-fpm behind a balancer: when one is gone, the other serves.
func TestFailoverBetweenPools(t *testing.T) {
	one, two := startPHPFPM(t, programs.PHPFPMOptions{}), startPHPFPM(t, programs.PHPFPMOptions{Unix: true})
	for _, f := range []*phpFPM{one, two} {
		f.AddFile("ok.php", `<?php echo basename(__DIR__);`)
	}
	var members []balancer.MemberConfig
	for _, f := range []*phpFPM{one, two} {
		tr := f.transport(t)
		members = append(members, balancer.MemberConfig{
			Name: f.Addr, URL: "fcgi://" + f.Addr, RoundTripper: tr, Backend: tr.Backend,
		})
		tr.Env = func(_ *http.Request, env *Params) { env.Set("SCRIPT_FILENAME", f.Dir+"/ok.php") }
	}
	members[1].URL = "fcgi://two"
	b, err := balancer.New(balancer.Config{Name: "php"}, members...)
	require.NoError(t, err)
	defer b.Close()
	h := &proxy.Handler{Target: &url.URL{Scheme: "balancer", Host: "php", Path: "/srv/"}, Prefix: "/", Transport: b}
	s := httptest.NewServer(h)
	defer s.Close()
	seen := map[string]bool{}
	for range 10 {
		resp, body := get(t, s.Client(), s.URL+"/ok.php")
		require.Equal(t, 200, resp.StatusCode)
		seen[body] = true
	}
	require.Len(t, seen, 2)
	one.Stop()
	for range 10 {
		resp, body := get(t, s.Client(), s.URL+"/ok.php")
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, filepath.Base(two.Dir), body)
	}
	two.Stop()
	resp, _ := get(t, s.Client(), s.URL+"/ok.php")
	require.Equal(t, 503, resp.StatusCode)
}

// PHP makes an underscore of a dot, so X.Forwarded.For would pass for
// X-Forwarded-For.
func TestFieldsThatPHPTakesForOthers(t *testing.T) {
	f := startPHPFPM(t, programs.PHPFPMOptions{})
	f.AddFile("env.php", envScript)
	s, _ := f.front(t, f.transport(t))
	for range 10 { // in whatever order the fields are sent
		r, err := http.NewRequest("GET", s.URL+"/env.php", nil)
		require.NoError(t, err)
		r.Header.Set("X.Forwarded.For", "6.6.6.6")
		r.Header.Set("X!A", "1")
		resp, err := s.Client().Do(r)
		require.NoError(t, err)
		env := parseEnv(t, readAll(t, resp)).Env
		require.Equal(t, "127.0.0.1", env["HTTP_X_FORWARDED_FOR"])
		require.NotContains(t, env, "HTTP_X!A")
	}
}
