package fcgi

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/proxy/backend"
)

// PHP makes an underscore of a dot, so X.Forwarded.For would pass for
// X-Forwarded-For.
func TestFieldsThatPHPTakesForOthers(t *testing.T) {
	f := startPHPFPM(t, programs.PHPFPMOptions{})
	f.script("env.php", envScript)
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

// An encoded slash does not hide behind segments that cleaning takes away.
func TestSiteRefusesEncodedSlashesInUncleanPaths(t *testing.T) {
	root := writeSite(t, map[string]string{"app/index.php": "x"})
	h, err := NewHandler("fcgi://127.0.0.1:1", root)
	require.NoError(t, err)
	h.Proxy.Transport = telling(t, root)
	for path, want := range map[string]int{
		"/long/name/../../app%2Findex.php": 404, "/.//.//.//.//app%2Findex.php": 404, "/x/../app/index.php": 200, "/app/index.php/x%2Fy": 200,
	} {
		r := httptest.NewRequest("GET", path, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, want, w.Code, path)
	}
}

// Error output that fills no buffer does not hold up what came before it.
func TestErrorOutputHoldsUpNothing(t *testing.T) {
	goOn := make(chan struct{})
	const head = "A: b\r\n\r\n"
	body := strings.Repeat("x", 8192-headLength-len(head)) // with its record, all that fits the buffer
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		if _, ok := c.request(); ok {
			c.say(join(stdout(head+body), stderr("oops\n")))
			<-goOn
			c.say(join(stdout("end"), end(0, 0)))
		}
	})
	t.Cleanup(func() { close(goOn) })
	s := behind(t, tr)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/a.php", nil)
	require.NoError(t, err)
	resp, err := s.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	got := make([]byte, len(body))
	_, err = io.ReadFull(resp.Body, got)
	require.NoError(t, err)
	require.Equal(t, body, string(got))
}

// The time limit is for each wait, and error output ends one.
func TestErrorOutputIsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend.Backend{URL: &url.URL{Scheme: "fcgi", Host: "app"}, Timeout: time.Minute, DialContext: func(context.Context, string, string) (net.Conn, error) {
			c, app := net.Pipe()
			go func() {
				defer app.Close()
				p := &peerConn{Conn: app, r: bufio.NewReader(app)}
				if _, ok := p.request(); !ok {
					return
				}
				for range 5 {
					p.say(stderr("still at it\n"))
					time.Sleep(50 * time.Second)
				}
				p.say(join(stdout("A: b\r\n\r\nok"), end(0, 0)))
			}()
			return c, nil
		}}
		defer b.Close()
		_, body, err := roundTrip(t, &Transport{Backend: b}, "GET", nil)
		require.NoError(t, err)
		require.Equal(t, "ok", string(body))
	})
}

// An Env that panics takes no place in the pool with it.
func TestEnvThatPanicsFreesItsConnection(t *testing.T) {
	_, tr := answering(t, join(stdout("A: b\r\n\r\nok"), end(0, 0)))
	tr.Env = func(r *http.Request, env *Params) { env.Set("SSL", r.TLS.ServerName) }
	require.Panics(t, func() { _, _, _ = roundTrip(t, tr, "GET", nil) })
	require.Zero(t, tr.Backend.Stats().Open)
}

// A length without a body, as a Rewrite leaves it that takes the body away, is
// none.
func TestLengthWithoutBody(t *testing.T) {
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		if a, ok := c.request(); ok {
			c.say(join(stdout("A: b\r\n\r\n"+a.env["CONTENT_LENGTH"]), end(0, 0)))
		}
	})
	r, err := http.NewRequest("GET", "fcgi://app/a.php", nil)
	require.NoError(t, err)
	r.ContentLength = 5
	resp, err := tr.RoundTrip(r)
	require.NoError(t, err)
	require.Empty(t, readAll(t, resp))
}

// A file that is a page about an error is sent as a whole, with its status.
func TestSendFileKeepsTheStatusOfErrors(t *testing.T) {
	dir := writeSite(t, map[string]string{"no.html": "0123456789"})
	tr := child(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Accel-Redirect", "/p/no.html")
		w.WriteHeader(http.StatusForbidden)
	})
	s := behind(t, &SendFile{Transport: tr, Dirs: map[string]string{"/p/": dir}})
	r, err := http.NewRequest("GET", s.URL+"/a.php", nil)
	require.NoError(t, err)
	r.Header.Set("Range", "bytes=1-2")
	resp, err := s.Client().Do(r)
	require.NoError(t, err)
	require.Equal(t, "0123456789", readAll(t, resp))
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
}
