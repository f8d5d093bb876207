package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

// command is the program, built.
func command(t *testing.T) string {
	name := filepath.Join(t.TempDir(), "httpd")
	out, err := exec.Command("go", "build", "-o", name, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	return name
}

// TestNoDowntime: on SIGUSR2 a new process takes over. No request fails, and a
// tunnel of the old one goes on.
func TestNoDowntime(t *testing.T) {
	upgrader := websocket.Upgrader{}
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" {
			_, _ = io.WriteString(w, "here")
			return
		}
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, text, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, text) != nil {
				return
			}
		}
	}))
	defer back.Close()
	dir := t.TempDir()
	file, binary := filepath.Join(dir, "x.conf"), command(t)
	require.NoError(t, os.WriteFile(file, []byte("Listen 80\nProxyPass / "+back.URL+"/ upgrade=websocket\n<Location /server-status>\nSetHandler server-status\n</Location>\n"), 0o644))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := free.Addr().String()
	require.NoError(t, free.Close())
	output, err := os.Create(filepath.Join(dir, "output"))
	require.NoError(t, err)
	defer output.Close()
	cmd := exec.Command(binary, "-f", file, "-listen", "80="+addr)
	cmd.Stdout, cmd.Stderr = output, output
	said := func(what string, times int) func() bool {
		return func() bool {
			b, err := os.ReadFile(output.Name())
			return err == nil && strings.Count(string(b), what) >= times
		}
	}
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	require.Eventually(t, said("ready\n", 1), 30*time.Second, 5*time.Millisecond)

	c, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/ws", nil)
	require.NoError(t, err)
	echo := func(text string) {
		require.NoError(t, c.WriteMessage(websocket.TextMessage, []byte(text)))
		_, got, err := c.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, text, string(got))
	}
	echo("before")

	var wg sync.WaitGroup
	var served atomic.Int64
	stop := make(chan struct{})
	errs := make(chan error, 100)
	for range 4 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := client.Get("http://" + addr + "/x")
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err == nil && resp.StatusCode != 200 {
						err = fmt.Errorf("status %d", resp.StatusCode)
					}
				}
				if err != nil {
					select {
					case errs <- err:
					default:
					}
				}
				served.Add(1)
			}
		})
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGUSR2))
	require.Eventually(t, said("ready\n", 2), 30*time.Second, 5*time.Millisecond)
	at := served.Load()
	require.Eventually(t, func() bool { return served.Load() > at+200 }, 30*time.Second, 5*time.Millisecond)
	close(stop)
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	echo("after")
	select {
	case err := <-ended:
		t.Fatalf("the old process has ended though it has a tunnel: %v", err)
	default:
	}
	require.NoError(t, c.Close())
	require.NoError(t, <-ended)

	// The successor is nobody's child any more: it is found by its address.
	resp, err := http.Get("http://" + addr + "/x")
	require.NoError(t, err)
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	out2, err := exec.Command("pkill", "-TERM", "-f", binary).CombinedOutput()
	require.NoError(t, err, string(out2))
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	}, 30*time.Second, 10*time.Millisecond)
}

// TestSocketActivation: listeners that a service manager has opened are taken, and
// a process that cannot take over changes nothing.
func TestSocketActivation(t *testing.T) {
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	defer back.Close()
	dir := t.TempDir()
	file, binary := filepath.Join(dir, "x.conf"), command(t)
	require.NoError(t, os.WriteFile(file, []byte("Listen 80\nProxyPass / "+back.URL+"/\n"), 0o644))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	require.NoError(t, err)
	defer f.Close()
	errs := &programs.Output{}
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"`, "sh", binary, "-f", file, "-listen", "80="+l.Addr().String())
	cmd.ExtraFiles, cmd.Stderr = []*os.File{f}, errs
	require.NoError(t, cmd.Start())
	says := func(what string) {
		require.Eventually(t, func() bool { return strings.Contains(errs.String(), what) }, 30*time.Second, 5*time.Millisecond, "no %q in %s", what, errs)
	}
	says("ready\n")
	get := func() {
		r, err := http.NewRequest("GET", "http://"+l.Addr().String()+"/", nil)
		require.NoError(t, err)
		r.Close = true
		resp, err := http.DefaultTransport.RoundTrip(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "here", string(b))
	}
	get()
	require.NoError(t, os.WriteFile(file, []byte("Nonsense\n"), 0o644))
	require.NoError(t, cmd.Process.Signal(syscall.SIGUSR2))
	says("no new process has taken over")
	get()
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
}
