package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/modproxy/modproxy/examples/internal/browser"
	"github.com/modproxy/modproxy/examples/internal/ftpd"
	"github.com/modproxy/modproxy/examples/programs"
	"github.com/modproxy/modproxy/ftpproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var files = map[string]string{
	"notes.txt":                   "first line\n",
	"dir ü/fïle & <b>.bin":        strings.Repeat("\x00\xff binary ", 50_000),
	"dir ü/in side/deep.txt":      "deep\n",
	"<img src=x onerror=a()>.txt": "odd\n",
}

// site is the example before a server at addr.
func site(t *testing.T, addr string, write bool) *httptest.Server {
	h, err := handler("ftp://"+addr, write)
	require.NoError(t, err)
	front := httptest.NewServer(h)
	t.Cleanup(func() {
		front.Close()
		_ = h.Transport.(*ftpproxy.Transport).Backend.Close()
	})
	return front
}

func TestSite(t *testing.T) {
	front := site(t, ftpd.Serve(t, ftpd.Plant(t, files), false), true)
	do := func(method, path, body string) (int, string) {
		r, err := http.NewRequest(method, front.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		resp, err := front.Client().Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(text)
	}
	status, text := do("GET", "/notes.txt", "")
	require.Equal(t, 200, status)
	require.Equal(t, "first line\n", text)
	status, text = do("GET", "/", "")
	require.Equal(t, 200, status)
	require.Contains(t, text, `href="./dir%20%C3%BC/"`)
	status, _ = do("PUT", "/dir%20%C3%BC/new.txt", "new")
	require.Equal(t, 201, status)
	_, text = do("GET", "/dir%20%C3%BC/new.txt", "")
	require.Equal(t, "new", text)
	status, _ = do("DELETE", "/dir%20%C3%BC/new.txt", "")
	require.Equal(t, 204, status)

	_, err := handler("http://127.0.0.1/", false)
	require.Error(t, err)
}

// TestListingInBrowser walks through the listing of a real server, as people
// do, into a directory and to a file.
func TestListingInBrowser(t *testing.T) {
	front := site(t, programs.Vsftpd(t, programs.FTPOptions{Root: ftpd.Plant(t, files)}).Addr, false)
	b := browser.Start(t)
	b.Open(front.URL + "/")
	require.Equal(t, "Index of /", b.Text("h1"))
	require.Contains(t, b.Text("table"), "<img src=x onerror=a()>.txt")
	var images int
	b.Eval("return document.images.length", &images)
	require.Zero(t, images)

	b.Click(`a[href*="dir%20"]`)
	b.Eventually(`document.title == "Index of /dir ü/"`)
	require.Contains(t, b.Text("table"), "fïle & <b>.bin")
	b.Click(`a[href*="in%20side"]`)
	b.Eventually(`document.title == "Index of /dir ü/in side/"`)
	b.Click(`a[href*="deep.txt"]`)
	b.Eventually(`document.body.innerText == "deep\n" || document.body.innerText == "deep"`)
	b.Open(front.URL + "/dir%20%C3%BC/in%20side") // without the slash
	b.Eventually(`document.title == "Index of /dir ü/in side/"`)
	b.Click(`a[href="../"]`)
	b.Eventually(`document.title == "Index of /dir ü/"`)

	folder := t.TempDir()
	b.Downloads(folder)
	b.Click(`a[href*=".bin"]`)
	require.Eventually(t, func() bool { // it has another name until it is whole
		text, err := os.ReadFile(filepath.Join(folder, "fïle & _b_.bin"))
		return err == nil && string(text) == files["dir ü/fïle & <b>.bin"]
	}, time.Minute, 20*time.Millisecond)
}
