package fcgi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/fcgi/internal/cgi"
	"github.com/modproxy/modproxy/proxy/access"
)

// writeSite writes files, and returns the root.
func writeSite(t testing.TB, files map[string]string) string {
	t.Helper()
	root := programs.Folder(t)
	for name, text := range files {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return root
}

// telling is a peer that tells which script it was asked for.
func telling(t testing.TB, root string) *Transport {
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		for {
			a, ok := c.request()
			if !ok {
				return
			}
			rel, _ := filepath.Rel(root, a.env["SCRIPT_FILENAME"])
			c.say(join(stdout(fmt.Sprintf("Content-Type: text/plain\r\n\r\nran %s as %s with %q root %t uri %s", rel, a.env["SCRIPT_NAME"],
				a.env["PATH_INFO"], a.env["DOCUMENT_ROOT"] == root, a.env["REQUEST_URI"])), end(0, 0)))
		}
	})
	return tr
}

func TestSite(t *testing.T) {
	root := writeSite(t, map[string]string{
		"index.php": "x", "a.php": "source", "style.css": "css", "sub/index.html": "html", "only/a.txt": "t",
		"upload/evil.jpg": "<?php", "upload/x.phtml": "source", ".env": "secret", ".git/config": "secret", ".well-known/acme": "token",
		"app/index.php": "x", "d.php/inner.txt": "inner", "old.php~": "source", "lib.inc": "source", "UP.PHP": "source",
	})
	h, err := NewHandler(root, "fcgi://127.0.0.1:1")
	require.NoError(t, err)
	h.Proxy.Transport = telling(t, root)
	type row struct {
		status int
		want   string
	}
	for _, front := range []string{"", "/index.php"} {
		h.FrontController = front
		s := httptest.NewServer(h)
		missing := func(uri string) row {
			if front == "" {
				return row{404, "404 page not found\n"}
			}
			return row{200, `ran index.php as /index.php with "" root true uri ` + uri}
		}
		for path, want := range map[string]row{
			"/a.php?x=1":               {200, `ran a.php as /a.php with "" root true uri /a.php?x=1`},
			"/a.php/more/b.php":        {200, `ran a.php as /a.php with "/more/b.php" root true uri /a.php/more/b.php`},
			"/a.php/x%2Fy":             {200, `ran a.php as /a.php with "/x/y" root true uri /a.php/x%2Fy`},
			"/UP.PHP":                  {200, `ran UP.PHP as /UP.PHP with "" root true uri /UP.PHP`},
			"/":                        {200, `ran index.php as /index.php with "" root true uri /`},
			"/app/":                    {200, `ran app/index.php as /app/index.php with "" root true uri /app/`},
			"/app?x=1":                 {301, ""},
			"/sub/":                    {200, "html"},
			"/style.css":               {200, "css"},
			"/.well-known/acme":        {200, "token"},
			"/d.php/inner.txt":         {200, "inner"},
			"/upload/evil.jpg":         {200, "<?php"},
			"/upload/evil.jpg/x.php":   missing("/upload/evil.jpg/x.php"),
			"/upload/x.phtml":          missing("/upload/x.phtml"),
			"/old.php~":                missing("/old.php~"),
			"/lib.inc":                 missing("/lib.inc"),
			"/.env":                    missing("/.env"),
			"/.git/config":             missing("/.git/config"),
			"/style.css/":              missing("/style.css/"),
			"/only/":                   missing("/only/"),
			"/nothing/at/all":          missing("/nothing/at/all"),
			"/missing.php":             missing("/missing.php"),
			"/app%2Findex.php":         {404, "404 page not found\n"},
			"/%2e%2e/%2e%2e/etc/hosts": {400, "The path is malformed.\n"},
			"/a.php%00.jpg":            {400, "The path is malformed.\n"},
			"/a.php/%0Ax":              {400, "The path is malformed.\n"},
		} {
			r := httptest.NewRequest("GET", "http://site.test/", nil)
			u, err := r.URL.Parse(path)
			require.NoError(t, err, path)
			r.URL, r.RequestURI = u, path
			if path == "/%2e%2e/%2e%2e/etc/hosts" {
				r.URL.Path, r.URL.RawPath = "/../../etc/hosts", path
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, want.status, w.Code, "%q %s", path, w.Body)
			require.Equal(t, want.want, w.Body.String(), "%q", path)
			if want.status == 301 {
				require.Equal(t, "/app/?x=1", w.Header().Get("Location"))
			}
		}
		s.Close()
	}
	h.FrontController = ""
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/style.css", nil))
	require.Equal(t, 405, w.Code)
	h.NoFiles = true
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/style.css", nil))
	require.Equal(t, 404, w.Code)
}

func TestNewHandlerRefuses(t *testing.T) {
	for _, c := range [][2]string{{"http://127.0.0.1/", "."}, {"fcgi://", "."}, {"unix:|fcgi://x", "."}, {"fcgi://127.0.0.1:9000", "/does/not/exist"}} {
		_, err := NewHandler(c[1], c[0])
		require.Error(t, err, c)
	}
}

func TestSiteWithPHP(t *testing.T) {
	onBoth(t, programs.PHPFPMOptions{}, func(t *testing.T, f *phpFPM) {
		f.AddFile("index.php", `<?php echo "front ", $_SERVER['REQUEST_URI'], " ", $_SERVER['SCRIPT_NAME'];`)
		f.AddFile("a.txt", "text")
		h, err := NewHandler(f.Dir, f.target())
		require.NoError(t, err)
		defer h.Proxy.Transport.(*Transport).Backend.Close()
		h.FrontController = "/index.php"
		s := httptest.NewServer(h)
		defer s.Close()
		_, body := get(t, s.Client(), s.URL+"/blog/1?x=y")
		require.Equal(t, "front /blog/1?x=y /index.php", body)
		_, body = get(t, s.Client(), s.URL+"/a.txt")
		require.Equal(t, "text", body)
	})
}

func TestFilesThatScriptsAskFor(t *testing.T) {
	dir := writeSite(t, map[string]string{"a.txt": "0123456789", "sub/b.txt": "b"})
	secret := writeSite(t, map[string]string{"secret.txt": "secret"})
	require.NoError(t, os.Symlink(filepath.Join(secret, "secret.txt"), filepath.Join(dir, "link.txt")))
	tr := child(t, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"X-Accel-Redirect", "X-Sendfile"} {
			if v := r.URL.Query().Get(name); v != "" {
				w.Header().Set(name, v)
			}
		}
		w.Header().Set("Content-Disposition", "attachment")
		_, _ = io.WriteString(w, "script")
	})
	s := behind(t, &SendFile{Transport: tr, Dirs: map[string]string{"/protected/": dir}})
	for _, c := range []struct {
		query, byteRange string
		status           int
		want             string
	}{
		{"", "", 200, "script"},
		{"X-Accel-Redirect=/protected/a.txt", "", 200, "0123456789"},
		{"X-Accel-Redirect=/protected/a.txt", "bytes=2-4", 206, "234"},
		{"X-Accel-Redirect=/protected/a.txt", "bytes=0-1,3-4", 200, "0123456789"},
		{"X-Accel-Redirect=/protected/a.txt", "bytes=99-", 416, ""},
		{"X-Accel-Redirect=/protected/sub/b.txt", "", 200, "b"},
		{"X-Accel-Redirect=/protected/none", "", 404, ""},
		{"X-Accel-Redirect=/protected/../../etc/hosts", "", 502, ""},
		{"X-Accel-Redirect=/other/a.txt", "", 502, ""},
		{"X-Accel-Redirect=/protected/link.txt", "", 404, ""},
		{"X-Sendfile=" + dir + "/a.txt", "", 200, "0123456789"},
		{"X-Sendfile=/etc/hosts", "", 502, ""},
		{"X-Sendfile=" + dir + "/../x", "", 502, ""},
	} {
		r, err := http.NewRequest("GET", s.URL+"/a.php?"+c.query, nil)
		require.NoError(t, err)
		if c.byteRange != "" {
			r.Header.Set("Range", c.byteRange)
		}
		resp, err := s.Client().Do(r)
		require.NoError(t, err)
		require.Equal(t, c.want, readAll(t, resp), c.query)
		require.Equal(t, c.status, resp.StatusCode, c.query)
		require.Empty(t, resp.Header.Get("X-Sendfile")+resp.Header.Get("X-Accel-Redirect"))
		if c.status < 300 {
			require.Equal(t, "attachment", resp.Header.Get("Content-Disposition"))
		}
	}
}

func TestAuthorizer(t *testing.T) {
	got := make(chan asked, 1)
	_, tr := newPeer(t, func(c *peerConn, _ int) {
		for {
			a, ok := c.request()
			if !ok {
				return
			}
			select {
			case got <- a:
			default:
			}
			switch a.env["HTTP_X_PASS"] {
			case "yes":
				c.say(join(stdout("Status: 200 OK\r\nVariable-REMOTE_USER: ann\r\n\r\nignored"), end(0, 0)))
			case "cut":
				c.say(stdout("Status"))
				return
			default:
				c.say(join(stdout("Status: 401 No\r\nWWW-Authenticate: Basic\r\nVariable-REMOTE_USER: eve\r\n\r\nno"), end(0, 0)))
			}
		}
	})
	a := &Authorizer{URL: &url.URL{Scheme: "fcgi", Host: "auth", Path: "/srv/auth.php"}, Transport: tr}
	var user string
	app := child(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "served %s", b)
	})
	app.Env = func(_ *http.Request, env *Params) {
		if user := env.Get("REMOTE_USER"); user != "ann" {
			t.Errorf("REMOTE_USER=%q", user)
		}
	}
	in := behindHandler(app)
	s := httptest.NewServer(a.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user = access.User(r.Context())
		in.ServeHTTP(w, r)
	})))
	defer s.Close()
	ask := func(pass string) (*http.Response, string) {
		r, err := http.NewRequest("POST", s.URL+"/x/a.php?q=1", io.MultiReader(strings.NewReader("body")))
		require.NoError(t, err)
		r.Header.Set("X-Pass", pass)
		r.Header.Set("X-Forwarded-User", "root")
		r.Header.Set("X-Real-Ip", "10.0.0.1")
		resp, err := s.Client().Do(r)
		require.NoError(t, err)
		return resp, readAll(t, resp)
	}
	resp, body := ask("yes")
	require.Equal(t, 200, resp.StatusCode, body)
	require.Equal(t, "served body", body)
	asked := <-got
	require.Equal(t, roleAuthorizer, asked.role)
	require.Equal(t, "AUTHORIZER", asked.env["FCGI_ROLE"])
	require.Equal(t, "/x/a.php?q=1", asked.env["REQUEST_URI"])
	require.Equal(t, "/srv/auth.php", asked.env["SCRIPT_FILENAME"])
	require.Empty(t, asked.stdin)
	for _, name := range []string{"CONTENT_LENGTH", "PATH_INFO", "PATH_TRANSLATED", "SCRIPT_NAME", "HTTP_X_FORWARDED_USER", "HTTP_X_REAL_IP"} {
		require.NotContains(t, asked.env, name)
	}
	require.Equal(t, "ann", user)
	resp, body = ask("no")
	require.Equal(t, 401, resp.StatusCode)
	require.Equal(t, "Basic", resp.Header.Get("WWW-Authenticate"))
	require.Empty(t, resp.Header.Get("Variable-Remote_user"))
	require.Equal(t, "no", body)
	resp, _ = ask("cut")
	require.Equal(t, 502, resp.StatusCode)
}

// TestSiteWithoutProxy: a Handler that was not made whole says so.
func TestSiteWithoutProxy(t *testing.T) {
	h := &Handler{Root: writeSite(t, map[string]string{"a.php": "x"}), FrontController: "/index.php"}
	for _, path := range []string{"/a.php", "/none"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		require.Equal(t, http.StatusInternalServerError, w.Code, path)
	}
}

// TestSiteTakesUploadsFirst: while a client still sends, no child waits for it.
func TestSiteTakesUploadsFirst(t *testing.T) {
	tr := child(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n)
	})
	h, err := NewHandler(writeSite(t, map[string]string{"a.php": "x"}), tr.Backend.URL.String())
	require.NoError(t, err)
	b := h.Proxy.Transport.(*Transport).Backend
	t.Cleanup(func() { _ = b.Close() })
	open := int64(-1)
	r := httptest.NewRequest("POST", "/a.php", io.MultiReader(bytes.NewReader(make([]byte, 2*cgi.AtOnce)), atEnd(func() { open = b.Stats().Open })))
	r.ContentLength = 2 * cgi.AtOnce
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, strconv.Itoa(2*cgi.AtOnce), w.Body.String())
	require.Zero(t, open, "connections while the body came in")
}

// atEnd is an empty Reader that tells when it is read.
type atEnd func()

func (f atEnd) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

// An encoded slash does not hide behind segments that cleaning takes away.
func TestSiteRefusesEncodedSlashesInUncleanPaths(t *testing.T) {
	root := writeSite(t, map[string]string{"app/index.php": "x"})
	h, err := NewHandler(root, "fcgi://127.0.0.1:1")
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
