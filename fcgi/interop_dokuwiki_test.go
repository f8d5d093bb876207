package fcgi

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

const (
	wikiProgram = "/usr/share/dokuwiki"
	wikiUser    = "editor"
	wikiSecret  = "a secret & more"
)

// installWiki copies Debian's DokuWiki to the directory of php-fpm's scripts,
// with settings, users and data of its own.
func installWiki(t *testing.T, f *phpFPM) (root string) {
	programs.NeedFile(t, wikiProgram+"/doku.php", "dokuwiki")
	root = filepath.Join(f.Dir, "wiki")
	for _, part := range []struct{ from, to string }{{wikiProgram, ""}, {"/etc/dokuwiki", "conf"}, {"/var/lib/dokuwiki/data", "data"}} {
		out, err := exec.Command("cp", "-rL", part.from, filepath.Join(root, part.to)).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	sum := sha1.Sum([]byte(wikiSecret))
	for name, text := range map[string]string{
		"inc/preload.php":     "<?php define('DOKU_MAIN_CONF', '" + root + "/conf/'); define('DOKU_CONF', '" + root + "/conf/');",
		"conf/local.php":      "<?php $conf['title'] = 'Wiki of the test'; $conf['useacl'] = 1; $conf['superuser'] = '@admin'; $conf['savedir'] = '" + root + "/data';",
		"conf/users.auth.php": wikiUser + ":" + hex.EncodeToString(sum[:]) + ":An Editor:editor@example.org:user\n",
		"conf/acl.auth.php":   "* @ALL 1\n* @user 8\n",
	} {
		file := filepath.Join(root, name)
		_ = os.Remove(file)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o666))
	}
	out, err := exec.Command("chmod", "-R", "a+rwX", root).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return root
}

// wiki is a browser's view of the wiki: cookies, and the fields of forms.
type wiki struct {
	t    *testing.T
	at   string
	http *http.Client
}

func (w *wiki) page(query string) string {
	w.t.Helper()
	resp, body := get(w.t, w.http, w.at+"/doku.php?"+query)
	require.Equal(w.t, 200, resp.StatusCode, body)
	return body
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)"`)

// fields returns the hidden fields of the form on a page, with others.
func (w *wiki) fields(page string, more ...string) url.Values {
	w.t.Helper()
	v := url.Values{}
	for _, m := range hiddenField.FindAllStringSubmatch(page, -1) {
		v.Set(m[1], m[2])
	}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	require.True(w.t, v.Has("sectok"), page)
	return v
}

func (w *wiki) post(path string, v url.Values, status int) string {
	w.t.Helper()
	resp, err := w.http.PostForm(w.at+path, v)
	require.NoError(w.t, err)
	body := readAll(w.t, resp)
	require.Equal(w.t, status, resp.StatusCode, body)
	return body
}

// TestDokuWiki: a real application works behind the handler of a site: logging
// in, editing a page, uploading a file, and having it again.
func TestDokuWiki(t *testing.T) {
	onBoth(t, programs.PHPFPMOptions{}, func(t *testing.T, f *phpFPM) {
		root := installWiki(t, f)
		h, err := NewHandler(root, f.target())
		require.NoError(t, err)
		h.Proxy.Transport = f.transport(t)
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		w := &wiki{t: t, at: s.URL, http: &http.Client{Jar: jar, Timeout: time.Minute}}
		t.Cleanup(w.http.CloseIdleConnections)

		resp, body := get(t, w.http, w.at+"/")
		require.Equal(t, 200, resp.StatusCode)
		require.Contains(t, body, "Wiki of the test")
		resp, _ = get(t, w.http, w.at+"/lib/images/fileicons/pdf.png")
		require.Equal(t, "image/png", resp.Header.Get("Content-Type"), "a file beside the scripts")
		resp, body = get(t, w.http, w.at+"/lib/exe/css.php?t=dokuwiki")
		require.Equal(t, 200, resp.StatusCode)
		require.Contains(t, body, "{")

		wrong := w.post("/doku.php?id=start", w.fields(w.page("id=start&do=login"), "do", "login", "u", wikiUser, "p", "wrong"), 403)
		require.NotContains(t, wrong, "An Editor")
		body = w.post("/doku.php?id=start", w.fields(w.page("id=start&do=login"), "do", "login", "u", wikiUser, "p", wikiSecret), 200)
		require.Contains(t, body, "An Editor")

		const said = "====== Häuser ======\nA page with <b>markup</b> & ünicode, \"quotes\" and 100%41."
		body = w.post("/doku.php", w.fields(w.page("id=house&do=edit"), "id", "house", "wikitext", said, "do[save]", "1"), 200)
		require.Contains(t, body, `Häuser</h1>`)
		require.Contains(t, body, "&lt;b&gt;markup&lt;/b&gt; &amp; ünicode")
		_, raw := get(t, w.http, w.at+"/doku.php?id=house&do=export_raw")
		require.Equal(t, said, raw)

		for name, chunked := range map[string]bool{"known.zip": false, "chunked.zip": true} {
			file := bytes.Repeat([]byte("\x00\xff\r\n--boundary 0123456789"), 8000)
			w.upload(name, file, chunked)
			resp, got := get(t, w.http, w.at+"/lib/exe/fetch.php?media="+name)
			require.Equal(t, 200, resp.StatusCode)
			require.True(t, got == string(file), "%d bytes of %d", len(got), len(file))
			r, err := http.NewRequest("GET", w.at+"/lib/exe/fetch.php?media="+name, nil)
			require.NoError(t, err)
			r.Header.Set("If-None-Match", resp.Header.Get("ETag"))
			r.Header.Set("If-Modified-Since", resp.Header.Get("Last-Modified"))
			resp, err = w.http.Do(r)
			require.NoError(t, err)
			require.Empty(t, readAll(t, resp))
			require.Equal(t, http.StatusNotModified, resp.StatusCode)
		}

		token := regexp.MustCompile(`do=logout&amp;sectok=(\w+)`).FindStringSubmatch(w.page("id=start"))
		require.NotNil(t, token)
		body = w.page("id=start&do=logout&sectok=" + token[1])
		require.NotContains(t, body, "An Editor")
	})
}

// upload sends a file by the form of the media manager.
func (w *wiki) upload(name string, data []byte, chunked bool) {
	w.t.Helper()
	_, page := get(w.t, w.http, w.at+"/lib/exe/mediamanager.php?ns=&edid=x")
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	for field, values := range w.fields(page, "do", "", "mediaid", name, "ow", "1") {
		require.NoError(w.t, m.WriteField(field, values[0]))
	}
	part, err := m.CreateFormFile("upload", name)
	require.NoError(w.t, err)
	_, err = part.Write(data)
	require.NoError(w.t, err)
	require.NoError(w.t, m.Close())
	var body io.Reader = &form
	if chunked {
		body = io.MultiReader(&form) // whose length net/http does not know
	}
	r, err := http.NewRequest("POST", w.at+"/lib/exe/mediamanager.php?ns=&edid=x", body)
	require.NoError(w.t, err)
	r.Header.Set("Content-Type", m.FormDataContentType())
	resp, err := w.http.Do(r)
	require.NoError(w.t, err)
	text := readAll(w.t, resp)
	require.Equal(w.t, 200, resp.StatusCode, text)
	require.Contains(w.t, text, name)
	require.NotContains(w.t, text, `class="error"`)
}
