package browser

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Browser is a running Chromium with one window. It belongs to its test; its
// methods fail the test when the browser refuses.
type Browser struct {
	t       *testing.T
	client  *http.Client
	session string // URL of the WebDriver session
}

// arguments keep the browser off every network but loopback, and quiet.
var arguments = []string{
	"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
	"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
}

var startedOn = regexp.MustCompile(`started successfully on port (\d+)`)

// Start starts a browser that ends with the test. More arguments for Chromium,
// such as "--proxy-server=…", may follow.
func Start(t *testing.T, more ...string) *Browser {
	t.Helper()
	driver := program(t, "chromedriver", "chromium-driver")
	binary := program(t, "chromium", "chromium")
	cmd := exec.Command(driver, "--port=0")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	port := make(chan string, 1)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			if m := startedOn.FindStringSubmatch(s.Text()); m != nil {
				port <- m[1]
			}
		}
	}()
	b := &Browser{t: t, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}}
	t.Cleanup(b.client.CloseIdleConnections)
	base := ""
	select {
	case p := <-port:
		base = "http://127.0.0.1:" + p
	case <-time.After(30 * time.Second):
		require.Fail(t, "chromedriver did not start")
	}
	var session struct {
		SessionID string `json:"sessionId"`
	}
	b.command("POST", base+"/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"acceptInsecureCerts": true,
		"goog:chromeOptions":  map[string]any{"binary": binary, "args": append(append([]string{}, arguments...), more...)},
	}}}, &session)
	b.session = base + "/session/" + session.SessionID
	t.Cleanup(func() { b.command("DELETE", b.session, nil, nil) })
	return b
}

// program finds a program, or skips or fails the test.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("MODPROXY_INTEROP") == "require" {
		t.Fatalf("%s is not installed (Debian package %s)", name, pkg)
	}
	t.Skipf("%s is not installed (Debian package %s)", name, pkg)
	return ""
}
