package apache

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/modproxy/modproxy/examples/programs"
)

const htmlSite = `
ProxyHTMLLinks a href
ProxyHTMLLinks img src longdesc
ProxyHTMLLinks form action
ProxyHTMLEvents onclick
ProxyHTMLStripComments Off
<Location /plain/>
    ProxyPass http://ORIGIN/
    ProxyHTMLEnable On
    ProxyHTMLURLMap http://in.test /plain
    ProxyHTMLURLMap /in/ /plain/in/
    ProxyHTMLURLMap / /plain/
</Location>
<Location /whole/>
    ProxyPass http://ORIGIN/
    SetOutputFilter INFLATE;proxy-html;DEFLATE
    ProxyHTMLExtended On
    ProxyHTMLURLMap ^/(in|on)/ /whole/$1/ R
    ProxyHTMLURLMap in.test out.test ^
    ProxyHTMLURLMap in.test out.test h
</Location>
<Location /off/>
    ProxyPass http://ORIGIN/
    ProxyHTMLURLMap / /off/
</Location>
`

const htmlPage = `<!DOCTYPE html><html><head><title>/in/</title></head><body>
<a href="http://in.test/x">1</a><a href="/in/y?a=1&amp;b=2">2</a><A HREF='/z' class="/in/">3</A><a href="relative">4</a><a href="/on/x">5</a>
<img src="/in/i.png" alt="/in/" longdesc="/in/d"><form action="/in/f"><input value="/in/"></form>
<p onclick="go('/in/', 'in.test')" onload="/in/">/in/</p><script>var a = "in.test/in/";</script></body></html>`

// linksOf are the attributes and scripts of a page, in order.
func linksOf(t *testing.T, page string) (list []string) {
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return list
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			for _, a := range token.Attr {
				list = append(list, fmt.Sprintf("%s %s=%s", token.Data, a.Key, a.Val))
			}
		case html.TextToken:
			if text := strings.TrimSpace(string(z.Text())); text != "" {
				list = append(list, text)
			}
		}
	}
}

// TestProxyHTML compares the links of pages with those that httpd makes, and sees
// that all else of a page stays.
func TestProxyHTML(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Etag", `"a"`)
		if strings.HasSuffix(r.URL.Path, ".txt") {
			w.Header().Set("Content-Type", "text/plain")
		}
		page := htmlPage
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			page = packed(page)
		}
		_, _ = w.Write([]byte(page))
	}))
	defer origin.Close()
	config := strings.ReplaceAll(htmlSite, "ORIGIN", origin.Listener.Addr().String())
	ours := start(t, "Listen 80\n"+config, echo)
	get := func(path, coding string) (*http.Response, string) {
		return ours.get("80", "h.test"+path, func(r *http.Request) { r.Header.Set("Accept-Encoding", coding) })
	}
	resp, page := get("/plain/x", "identity")
	require.Empty(t, resp.Header.Get("Etag"))
	require.Equal(t, strings.NewReplacer(`<a href="http://in.test/x">`, `<a href="/plain/x">`, `<a href="/in/y?a=1&amp;b=2">`, `<a href="/plain/in/y?a=1&amp;b=2">`, `<A HREF='/z' class="/in/">`, `<a href="/plain/z" class="/in/">`,
		`<a href="/on/x">`, `<a href="/plain/on/x">`, `<img src="/in/i.png" alt="/in/" longdesc="/in/d">`, `<img src="/plain/in/i.png" alt="/in/" longdesc="/plain/in/d">`, `<form action="/in/f">`, `<form action="/plain/in/f">`).Replace(htmlPage), page)
	for _, path := range []string{"/off/x", "/plain/x.txt"} {
		resp, page = get(path, "identity")
		require.Equal(t, htmlPage, page, path)
		require.NotEmpty(t, resp.Header.Get("Etag"))
	}
	resp, page = get("/plain/x", "gzip") // nothing is found in what is packed
	require.Equal(t, "gzip", resp.Header.Get("Content-Encoding"))
	require.Equal(t, packed(htmlPage), page)

	var mine [][]string
	paths := []string{"/plain/x", "/whole/x", "/off/x"}
	for _, path := range paths {
		_, page := get(path, "identity")
		mine = append(mine, linksOf(t, page))
	}
	httpd := programs.HTTPD(t, "env headers filter deflate xml2enc proxy proxy_http proxy_html", config)
	for i, path := range paths {
		resp, page := httpPage(t, httpd.Addr, path)
		require.Equal(t, 200, resp)
		theirs := linksOf(t, page)
		slices.Sort(theirs)
		slices.Sort(mine[i])
		require.Equal(t, theirs, mine[i], path)
	}
}

func httpPage(t *testing.T, addr, path string) (int, string) {
	out := programs.Curl(t, "-s", "-w", "%{http_code}", "http://"+addr+path).Out
	require.Greater(t, len(out), 3)
	var code int
	_, err := fmt.Sscan(out[len(out)-3:], &code)
	require.NoError(t, err)
	return code, out[:len(out)-3]
}
