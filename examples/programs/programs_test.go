package programs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain also is the program that the tests run.
func TestMain(m *testing.M) {
	if addr := os.Getenv("PROGRAMS_TEST_ADDR"); addr != "" {
		greet(addr)
	}
	goleak.VerifyTestMain(m)
}

// greet says hello to each who connects, until it is told to end.
func greet(addr string) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("listening")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		}
	}()
	<-stop
	fmt.Println("ending")
	os.Exit(0)
}

// greeter is the command of this program.
func greeter(addr string) (*exec.Cmd, error) {
	self, err := os.Executable()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "PROGRAMS_TEST_ADDR="+addr)
	return cmd, err
}

func greeting(addr string) (string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	return string(b), err
}

func TestServe(t *testing.T) {
	p := Serve(t, greeter)
	text, err := greeting(p.Addr)
	require.NoError(t, err)
	require.Equal(t, "hello", text)
	for _, end := range []func(){p.Stop, p.Kill} {
		end()
		_, err = greeting(p.Addr)
		require.Error(t, err)
		p.Restart()
		text, err = greeting(p.Addr)
		require.NoError(t, err)
		require.Equal(t, "hello", text)
	}
	require.Equal(t, 3, strings.Count(p.Output.String(), "listening\n"))
	require.Equal(t, 1, strings.Count(p.Output.String(), "ending\n"), "only one was asked to end")
}

// TestServeTriesAgain: a program that cannot have its address is run at another.
func TestServeTriesAgain(t *testing.T) {
	tries := 0
	p := Serve(t, func(addr string) (*exec.Cmd, error) {
		if tries++; tries == 1 {
			addr = "192.0.2.1:1"
		}
		return greeter(addr)
	})
	require.Equal(t, 2, tries)
	_, err := greeting(p.Addr)
	require.NoError(t, err)
}

// TestStartFails: the error has what the program wrote, and nothing is left of
// it.
func TestStartFails(t *testing.T) {
	cmd, err := greeter("192.0.2.1:1")
	require.NoError(t, err)
	_, err = StartAt(t.Context(), "tcp", "127.0.0.1:1", cmd)
	require.ErrorContains(t, err, "ended before it accepted\nexit status 1\n")
	require.ErrorContains(t, err, "listen tcp 192.0.2.1:1")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	commands := 0
	_, err = Start(ctx, func(addr string) (*exec.Cmd, error) {
		commands++
		cmd, err = greeter(addr)
		return cmd, err
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, commands)
	require.NotNil(t, cmd.ProcessState, "it has ended")
}

// TestRun: what serves in this process has to end, too.
func TestRun(t *testing.T) {
	ended := 0
	addr := FreeAddr(t)
	stop := Run(t, func(ctx context.Context) error {
		l, err := net.Listen("tcp", addr)
		<-ctx.Done()
		ended++
		return errors.Join(err, l.Close())
	}, addr)
	stop()
	stop()
	require.Equal(t, 1, ended)
}

// outcome is a test that ends early.
type outcome struct {
	testing.TB
	text string
}

func (o *outcome) Helper() {}

func (o *outcome) Skipf(format string, args ...any) { o.end("skip: "+format, args...) }

func (o *outcome) Fatalf(format string, args ...any) { o.end("fail: "+format, args...) }

// end keeps the first text, for a test goes no further.
func (o *outcome) end(format string, args ...any) {
	if o.text == "" {
		o.text = fmt.Sprintf(format, args...)
	}
}

func TestMissing(t *testing.T) {
	for env, how := range map[string]string{"": "skip", "require": "fail"} {
		t.Setenv("MODPROXY_INTEROP", env)
		var o outcome
		require.Empty(t, Find(&o, "some-package", "no-such-program"))
		require.Equal(t, how+": no-such-program is not installed; it is in the Debian package some-package", o.text)
		o = outcome{}
		NeedFile(&o, filepath.Join(t.TempDir(), "x"), "p")
		require.Contains(t, o.text, how)
		o = outcome{}
		CannotHere(&o, "no %s", "locks")
		if runtime.GOOS != "linux" {
			how = "skip"
		}
		require.Equal(t, how+": no locks", o.text)
	}
}

// get asks a server that speaks HTTP.
func get(t *testing.T, p *Program, path string) string {
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + p.Addr + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode, "%s", b)
	return string(b)
}

// TestServersOfFiles: httpd and nginx before files in Dir, and before each other.
func TestServersOfFiles(t *testing.T) {
	httpd := HTTPD(t, "", "Listen 127.0.0.1:${PORT}\n")
	httpd.AddFile("a.html", "from httpd")
	require.Equal(t, "from httpd", get(t, httpd, "/a.html"))
	nginx := Nginx(t, "location /there/ { proxy_pass http://"+httpd.Addr+"/; }")
	nginx.AddFile("a.html", "from nginx")
	require.Equal(t, "from nginx", get(t, nginx, "/a.html"))
	require.Equal(t, "from httpd", get(t, nginx, "/there/a.html"))
	httpd.Kill()
	httpd.Restart()
	require.Equal(t, "from httpd", get(t, nginx, "/there/a.html"))
}

// TestApplicationServers: php-fpm and Tomcat behind httpd.
func TestApplicationServers(t *testing.T) {
	tcp, unix := PHPFPM(t, PHPFPMOptions{}), PHPFPM(t, PHPFPMOptions{Unix: true, Children: 1, More: "env[WHERE] = there"})
	tcp.AddFile("a.php", "<?php echo 'from ', basename(__FILE__);")
	unix.AddFile("b.php", "<?php echo 'from ', getenv('WHERE');")
	tomcat := Tomcat(t, TomcatOptions{Secret: "s3cret", Pages: map[string]string{"who.jsp": "<%= session.getId() %>"}})
	httpd := HTTPD(t, "proxy proxy_fcgi proxy_ajp", fmt.Sprintf(`
ProxyPass /tcp/ fcgi://%s%s/
ProxyPass /unix/ unix:%s|fcgi://localhost%s/
ProxyPass /tomcat/ ajp://%s/ secret=s3cret
`, tcp.Addr, tcp.Dir, unix.Addr, unix.Dir, tomcat.Addr))
	require.Equal(t, "from a.php", get(t, httpd, "/tcp/a.php"))
	require.Equal(t, "from there", get(t, httpd, "/unix/b.php"))
	require.Equal(t, "tomcat root\n", get(t, httpd, "/tomcat/"))
	require.Contains(t, get(t, httpd, "/tomcat/who.jsp"), ".node1")
	require.Contains(t, get(t, httpd, "/tomcat/examples/index.html"), "Apache Tomcat Examples")
}
