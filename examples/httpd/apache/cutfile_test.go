package apache

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestReloadKeepsTheSiteOfACutFile: a file that is cut anywhere within a line or a
// section, that is empty, or that is gone changes nothing; nor does one of those that
// it includes.
func TestReloadKeepsTheSiteOfACutFile(t *testing.T) {
	const whole = "Define A 1\nListen 80\n<Location /x>\nErrorDocument 404 \"old ${A}\"\n</Location>\nErrorDocument 404 old\n"
	const included = "<Location /y>\nErrorDocument 404 old\n</Location>\n"
	dir := t.TempDir()
	main, inner := filepath.Join(dir, "main.conf"), filepath.Join(dir, "inner.conf")
	write := func(name, text string) { require.NoError(t, os.WriteFile(name, []byte(text), 0o644)) }
	write(main, whole+"Include inner.conf\n")
	write(inner, included)
	site, err := Load(main, Options{Listen: map[string]string{"80": "127.0.0.1:0"}})
	require.NoError(t, err)
	defer site.Close()
	served := site.current.Load()
	refused := func(what, want string) {
		t.Helper()
		require.ErrorContains(t, site.Reload(), want, what)
		require.Same(t, served, site.current.Load(), what)
	}
	for name, text := range map[string]string{main: whole, inner: included} {
		for n := range len(text) {
			if n > 0 && (text[n-1] == '\n' || text[n] == '\n' && text[n-1] == '>') && strings.Count(text[:n], "<Location") == strings.Count(text[:n], "</Location>") && (name == inner || strings.Contains(text[:n], "Listen")) {
				continue // that could be meant
			}
			if n%3 != 0 { // each takes its time
				continue
			}
			write(name, text[:n])
			refused(fmt.Sprintf("%s, %d bytes", filepath.Base(name), n), "")
		}
		write(name, text)
		if name == main {
			write(main, whole+"Include inner.conf\n")
		}
	}
	write(inner, "")
	refused("an empty file", inner+":1: the file is empty and was not before")
	write(inner, "# nothing")
	refused("a line without an end", inner+":1: the last line has no end and had one before")
	write(inner, strings.TrimSuffix(included, "\n"))
	require.NoError(t, site.Reload(), "the end of a section needs no end of its line")
	served = site.current.Load()
	write(inner, included)
	write(main, "# nothing\n")
	refused("no Listen", "neither Listen nor <VirtualHost> and had one before")
	require.NoError(t, os.Remove(main))
	refused("no file", "no such file")
	write(main, whole)
	require.NoError(t, site.Reload())
	require.NotSame(t, served, site.current.Load())
}

// TestReloadStorm: while the file is rewritten again and again in the ways of editors
// and cp, with a signal at every point, no request is lost, nor does one get an answer
// that no whole file gives.
func TestReloadStorm(t *testing.T) {
	config := func(n int) string {
		return fmt.Sprintf("Listen 80\nDefine N %d\n# %s\n<VirtualHost *:80>\nServerName h.test\nProxyPass /app http://backend.test/app\n</VirtualHost>\nHeader always set X-N %d\n", n, strings.Repeat("x", 9000), n)
	}
	p := start(t, config(0), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }))
	addr := p.server.addresses()["80"]
	signal := func() {
		select {
		case p.signals <- syscall.SIGHUP:
		default:
		}
	}
	other := p.file + "~"
	check := func(err error) { require.NoError(t, err) }
	ways := []func(text string){
		func(text string) { // cp, and shells
			f, err := os.Create(p.file)
			check(err)
			signal()
			_, err = f.WriteString(text)
			check(err)
			check(f.Close())
		},
		func(text string) { // in pieces
			f, err := os.Create(p.file)
			check(err)
			for len(text) > 0 {
				n := min(len(text), 4096)
				_, err = f.WriteString(text[:n])
				check(err)
				text = text[n:]
				signal()
			}
			check(f.Close())
		},
		func(text string) { // editors that keep the old file
			check(os.Rename(p.file, other))
			signal()
			check(os.WriteFile(p.file, []byte(text), 0o644))
		},
		func(text string) { // sed -i
			check(os.WriteFile(other, []byte(text), 0o644))
			check(os.Rename(other, p.file))
		},
		func(text string) { // over the old text
			f, err := os.OpenFile(p.file, os.O_WRONLY, 0)
			check(err)
			_, err = f.WriteString(text)
			check(err)
			signal()
			check(f.Truncate(int64(len(text))))
			check(f.Close())
		},
	}
	var asked atomic.Int64
	stop := make(chan struct{})
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				req, _ := http.NewRequest("GET", "http://"+addr+"/app/x", nil)
				req.Host = "h.test"
				resp, err := client.Do(req)
				if err != nil {
					t.Errorf("request %d: %v", asked.Load(), err)
					return
				}
				got, err := text(resp, nil)
				if err != nil || resp.StatusCode != 200 || got != "/app/x" || resp.Header.Get("X-N") == "" {
					t.Errorf("request %d: %d %q %v", asked.Load(), resp.StatusCode, got, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	attempts := func() int { return strings.Count(p.stderr.String(), "reloaded") }
	const rewrites = 200
	for n := 1; n <= rewrites; n++ {
		ways[n%len(ways)](config(n))
		signal()
		wantAsked, wantAttempts := int64(n)*6, n/5 // the others meet a reload that goes on
		require.Eventually(t, func() bool {
			signal()
			return t.Failed() || asked.Load() >= wantAsked && attempts() >= wantAttempts
		}, 30*time.Second, 100*time.Microsecond)
	}
	require.Eventually(t, func() bool {
		signal()
		resp, _ := p.get("80", "h.test/app/x")
		return resp.Header.Get("X-N") == fmt.Sprint(rewrites)
	}, 30*time.Second, 10*time.Millisecond)
	close(stop)
	work.Wait()
	require.Greater(t, asked.Load(), int64(1000))
	t.Logf("%d requests, %d reloads, %d refused", asked.Load(), strings.Count(p.stderr.String(), "reloaded\n"), strings.Count(p.stderr.String(), "not reloaded"))
}
