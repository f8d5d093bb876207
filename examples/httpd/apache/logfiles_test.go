//go:build unix

package apache

import (
	"fmt"
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

// TestLogWarnings: what has another effect than was meant, or none, is told with its
// place, and what would do.
func TestLogWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"LogFormat %U combind\nCustomLog /dev/null combine":                            `x.conf:3: warning: CustomLog: no LogFormat is called "combine": each line is that word, as in httpd; did you mean combind?`,
		"CustomLog /dev/null vhost_combined":                                           "",
		"CustomLog /dev/null \"a b\"":                                                  "",
		"LogLevel warn proxi:debug":                                                    `x.conf:2: warning: LogLevel: module "proxi" is none of httpd's, and says nothing here; did you mean proxy?`,
		"LogLevel warn ssl:debug mod_lua.c:trace8 http2_module:info authz_core:trace1": "",
		"ErrorLogFormat \"[%t] %M\"":                                                   "x.conf:2: warning: ErrorLogFormat has no effect: lines of the error log are those of package slog",
		"ForensicLog /dev/null":                                                        "x.conf:2: warning: ForensicLog has no effect: requests are logged when they are done: use CustomLog",
		"BufferedLogs On":                                                              "",
		"LogFormat %U x\nLogFormat x\nTransferLog /dev/null":                           "",
	} {
		site, err := Parse("Listen 80\n"+text, "x.conf", Options{Root: t.TempDir()})
		require.NoError(t, err, text)
		var got []string
		for _, w := range site.Warnings() {
			got = append(got, w.Error())
		}
		require.NoError(t, site.Close())
		require.Equal(t, want, strings.Join(got, "\n"), text)
	}
}

// TestLogsThatCannotBeOpened refuse the configuration, each with its place.
func TestLogsThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	for _, where := range []string{"%s", "<VirtualHost *:80>\n%s\n</VirtualHost>"} {
		for _, log := range []string{"ErrorLog %s", "CustomLog %s %%U", "TransferLog %s"} {
			for _, name := range []string{dir, dir + "/none/x.log", "none/x.log", "/etc/passwd/x", "|/no/such/program x", "|no-such-program-anywhere", `"|cat 'x"`} {
				text := fmt.Sprintf(where, fmt.Sprintf(log, name))
				if strings.HasPrefix(name, "|") {
					text = fmt.Sprintf(where, fmt.Sprintf(log, `"`+name+`"`))
				}
				_, err := Parse("Listen 80\n"+text, "x.conf", Options{Root: dir})
				require.ErrorContains(t, err, fmt.Sprintf("x.conf:%d: %s: ", 2+strings.Count(where, "\n")/2, strings.Fields(log)[0]), text)
			}
		}
	}
	_, err := Parse("Listen 80\nErrorLog syslog:local9", "x.conf", Options{Root: dir})
	require.ErrorContains(t, err, "x.conf:2: ErrorLog: syslog has no facility")
}

// TestLogsThatAreNoFiles: a log that nobody reads, that is full or that does not end
// keeps neither the start, nor a request, a reload or the end from its course.
func TestLogsThatAreNoFiles(t *testing.T) {
	for _, kind := range []string{"FIFO", "/dev/full", "/dev/null", `"|$exec sleep 1000"`, `"|$exit 1"`, "syslog"} {
		for _, log := range []string{"ErrorLog %s\nLogLevel trace4", "CustomLog %s common", "TransferLog %s"} {
			if kind == "syslog" && !strings.HasPrefix(log, "ErrorLog") || strings.Contains(kind, "sleep") && !strings.HasPrefix(log, "CustomLog") {
				continue
			}
			t.Run(log+" "+kind, func(t *testing.T) {
				fifo := filepath.Join(t.TempDir(), "fifo")
				require.NoError(t, syscall.Mkfifo(fifo, 0o600))
				inTime(t, "the server", func() {
					p := start(t, "Listen 80\n"+fmt.Sprintf(log, strings.ReplaceAll(kind, "FIFO", fifo))+"\nProxyPass / http://backend.test/\n", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						_, _ = io.WriteString(w, "here")
					}))
					ask := func() {
						for range 40 {
							resp, text := p.get("80", "h.test/"+strings.Repeat("x", 4000))
							require.Equal(t, 200, resp.StatusCode)
							require.Equal(t, "here", text)
						}
					}
					ask()
					p.signals <- syscall.SIGHUP
					require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "reloaded\n") }, 20*time.Second, time.Millisecond)
					ask()
					p.stop()
				})
			})
		}
	}
}

// TestPipedLogs: the program of a log gets every line, those too that came while it
// was not there; it ends with a reload and with the server, and all lines are in by then.
func TestPipedLogs(t *testing.T) {
	dir := t.TempDir()
	config := fmt.Sprintf(`
Listen 80
ServerRoot %[1]s
LogFormat "%%U" path
CustomLog "|$echo began >>runs; cat >>all; echo ended >>runs" path
CustomLog "||/bin/sh -c 'cat >>words'" path
CustomLog "|$read line; echo $line >>mortal" path
TransferLog "|/usr/bin/tee -a %[1]s/tee"
ErrorLog "|$cat >>errors"
LogLevel debug
ProxyPass / http://backend.test/
`, dir)
	p := start(t, config, echo)
	var want strings.Builder
	ask := func(paths ...string) {
		for _, path := range paths {
			p.get("80", "h.test"+path)
			want.WriteString(path + "\n")
		}
	}
	ask("/1", "/2", "/3")
	content := func(name string) string {
		b, _ := os.ReadFile(filepath.Join(dir, name))
		return string(b)
	}
	require.Eventually(t, func() bool { return content("mortal") == want.String() }, 20*time.Second, time.Millisecond, "it is started again")
	p.signals <- syscall.SIGHUP
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "reloaded\n") }, 20*time.Second, time.Millisecond)
	ask("/4")
	p.stop()
	require.Equal(t, want.String(), content("all"))
	require.Equal(t, want.String(), content("words"))
	require.Equal(t, 2, strings.Count(content("runs"), "began\n"), content("runs"))
	require.Equal(t, 2, strings.Count(content("runs"), "ended\n"), content("runs"))
	require.Equal(t, 4, strings.Count(content("tee"), "HTTP/1.1"), "all lines of programs are in at the end: %s", content("tee"))
	require.Contains(t, content("errors"), "level=DEBUG")
	require.Contains(t, p.stderr.String(), "the program of a log has ended and is started again")
}

// TestLogRotation: a log that is renamed is written to its end by what has begun, and a
// new one begins with a reload; one that is copied and cut goes on from its start.
func TestLogRotation(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGUSR1} {
		dir := t.TempDir()
		arrived, finish := make(chan struct{}), make(chan struct{})
		p := start(t, "Listen 80\nServerRoot "+dir+"\nCustomLog x.log %U\nErrorLog err.log\nProxyPass / http://backend.test/\n", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/long" {
				close(arrived)
				<-finish
			}
		}))
		content := func(name string) string {
			b, _ := os.ReadFile(filepath.Join(dir, name))
			return string(b)
		}
		p.get("80", "h.test/1")
		done := make(chan struct{})
		go func() { defer close(done); p.get("80", "h.test/long") }()
		<-arrived
		require.NoError(t, os.Rename(filepath.Join(dir, "x.log"), filepath.Join(dir, "x.log.1")))
		p.get("80", "h.test/2")
		p.signals <- sig
		require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "reloaded\n") }, 20*time.Second, time.Millisecond)
		p.get("80", "h.test/3")
		close(finish)
		<-done
		require.Eventually(t, func() bool { return content("x.log.1") == "/1\n/2\n/long\n" && content("x.log") == "/3\n" }, 20*time.Second, time.Millisecond)
		require.NoError(t, os.Truncate(filepath.Join(dir, "x.log"), 0)) // copytruncate
		p.get("80", "h.test/4")
		p.stop()
		require.Equal(t, "/4\n", content("x.log"))
	}
}

// TestFirstByte: %^FB counts with LogIOTrackTTFB alone.
func TestFirstByte(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "Listen 80\nServerRoot "+dir+"\nCustomLog x.log \"%U %^FB\"\nProxyPass / http://backend.test/\n<Location /on>\nLogIOTrackTTFB On\n</Location>", echo)
	p.get("80", "h.test/off")
	p.get("80", "h.test/on")
	p.stop()
	b, err := os.ReadFile(filepath.Join(dir, "x.log"))
	require.NoError(t, err)
	require.Regexp(t, `^/off -\n/on [1-9][0-9]*\n$`, string(b))
}
