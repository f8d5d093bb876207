package apache

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMultiViewsBesideHTTPD: a name without its suffix means the one file that has
// one, unless that is closed.
func TestMultiViewsBesideHTTPD(t *testing.T) {
	besidePHP(t, "multiviews.conf", "authz_host env headers mime dir alias autoindex negotiation proxy proxy_fcgi", map[string]string{
		"about.html": "about", "guide.html.de": "guide", "odd.unknownsuffix": "odd", "docs/a.html": "a", "closed/.htaccess": "<Files *.html>\nRequire all denied\n</Files>\n", "closed/x.html": "secret",
		"off/.htaccess": "Options -MultiViews\n", "off/a.html": "a", "data.txt": "data", "dir.html": "page", "dir/index.html": "index", "backup.html.orig~": "secret",
	}, map[string][]string{
		"views.test": {"GET /about", "HEAD /about", "GET /about?x=y", "GET /odd", "GET /docs/a", "GET /docs/none", "GET /closed/x", "GET /off/a", "GET /data", "GET /dir", "GET /about.html", "GET /none", "GET /backup", "GET /about/"},
	})
}

// TestMultiViewsOfSeveral: nothing is chosen, and the log says so.
func TestMultiViewsOfSeveral(t *testing.T) {
	root := writeFiles(t, map[string]string{"a.html": "a", "a.txt": "a"})
	p := start(t, "DocumentRoot "+root+"\n<Directory "+root+">\nOptions +MultiViews\n</Directory>\n", echo)
	resp, _ := p.get("80", "h.test/a")
	require.Equal(t, 404, resp.StatusCode)
	require.Contains(t, p.stderr.String(), "several files may be meant")
}
