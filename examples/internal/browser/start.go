package browser

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/modproxy/modproxy/examples/programs"
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

// Start starts a browser that ends with the test. More arguments for Chromium,
// such as "--proxy-server=…", may follow.
func Start(t *testing.T, more ...string) *Browser {
	t.Helper()
	driver := programs.Find(t, "chromium-driver", "chromedriver")
	binary := programs.Find(t, "chromium", "chromium")
	home := t.TempDir()
	p := programs.Serve(t, func(addr string) (*exec.Cmd, error) {
		_, port, err := net.SplitHostPort(addr)
		cmd := exec.Command(driver, "--port="+port)
		cmd.Env = append(os.Environ(), "HOME="+home)
		return cmd, err
	})
	base := "http://" + p.Addr
	b := &Browser{t: t, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}}
	t.Cleanup(b.client.CloseIdleConnections)
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
