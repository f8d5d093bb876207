//go:build unix

package apache

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// notFiles makes what is no file of bearable size, by what it is.
func notFiles(t *testing.T) map[string]func(name string) {
	return map[string]func(name string){
		"a FIFO":   func(name string) { require.NoError(t, syscall.Mkfifo(name, 0o600)) },
		"a device": func(name string) { require.NoError(t, os.Symlink("/dev/zero", name)) },
		"a folder": func(name string) { require.NoError(t, os.Mkdir(name, 0o700)) },
		"a gigabyte": func(name string) {
			require.NoError(t, os.WriteFile(name, nil, 0o600))
			require.NoError(t, os.Truncate(name, 1<<30))
		},
	}
}

// inTime fails the test if do takes too long, and does not wait for it then.
func inTime(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s hangs", what)
	}
}

// TestFilesThatAreNone: whatever stands in a configuration as the name of a file to
// read may be anything. It is an error with its place, and at once.
func TestFilesThatAreNone(t *testing.T) {
	for kind, make := range notFiles(t) {
		for directive, text := range map[string]string{
			"Include":                        "Include NAME",
			"Include of a pattern":           "Include NAM[E]",
			"RemoteIPTrustedProxyList":       "RemoteIPTrustedProxyList NAME",
			"RemoteIPInternalProxyList":      "RemoteIPInternalProxyList NAME",
			"SSLProxyCACertificateFile":      "SSLProxyCACertificateFile NAME",
			"SSLProxyMachineCertificateFile": "SSLProxyMachineCertificateFile NAME",
			"AuthUserFile":                   "<Location />\nAuthType Basic\nAuthName x\nAuthUserFile NAME\nRequire valid-user\n</Location>",
		} {
			if kind == "a folder" && strings.HasPrefix(directive, "Include") {
				continue // all files in it
			}
			t.Run(directive+" of "+kind, func(t *testing.T) {
				dir := t.TempDir()
				make(filepath.Join(dir, "NAME"))
				inTime(t, "Load", func() {
					site, err := Parse("Listen 80\n"+text, filepath.Join(dir, "x.conf"), Options{Root: dir})
					if err == nil {
						site.Close()
					}
					require.ErrorContains(t, err, "x.conf:")
				})
			})
		}
		t.Run("the configuration is "+kind, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "x.conf")
			make(name)
			inTime(t, "Load", func() {
				_, err := Load(name, Options{})
				require.ErrorContains(t, err, name)
			})
		})
		t.Run("the state of a balancer is "+kind, func(t *testing.T) {
			dir := t.TempDir()
			make(filepath.Join(dir, "balancer-x-b.json"))
			inTime(t, "the server", func() {
				p := start(t, "Listen 80\nServerName x\nBalancerPersist On\nDefaultRuntimeDir "+dir+"\n<Proxy balancer://b>\nBalancerMember http://backend.test\n</Proxy>\nProxyPass / balancer://b/\n",
					http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "here") }))
				_, text := p.get("80", "h.test/")
				require.Equal(t, "here", text)
				p.signals <- syscall.SIGHUP
				require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "reloaded\n") }, 20*time.Second, time.Millisecond)
				p.stop()
				require.Contains(t, p.stderr.String(), "balancer is not as it was before")
			})
		})
	}
}
