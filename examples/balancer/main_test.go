package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/internal/browser"
)

func front(t *testing.T) *httptest.Server {
	h, err := handler([]string{tinyMember(1), tinyMember(2)})
	require.NoError(t, err)
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// TestSessionsStay: without a cookie members take turns; with it, one serves.
func TestSessionsStay(t *testing.T) {
	s := front(t)
	get := func(cookie string) (string, string) {
		r, err := http.NewRequest("GET", s.URL+"/x", nil)
		require.NoError(t, err)
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(text), resp.Header.Get("Set-Cookie")
	}
	first, set := get("")
	second, _ := get("")
	require.ElementsMatch(t, []string{"member 1 got /x\n", "member 2 got /x\n"}, []string{first, second})
	cookie, _, _ := strings.Cut(set, ";")
	for range 4 {
		text, set := get(cookie)
		require.Equal(t, first, text)
		require.Empty(t, set)
	}
}

// TestManagerInBrowser: the page is live, and changes work by its forms.
func TestManagerInBrowser(t *testing.T) {
	s := front(t)
	b := browser.Start(t, "--window-size=1400,900")
	b.Open(s.URL + "/balancer-manager")
	b.Eventually(`document.body.dataset.live >= 1`)
	for range 3 {
		resp, err := http.Get(s.URL + "/x")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	sum := `[...document.querySelectorAll("tr[data-m]")].reduce((n, r) => n + Number(r.querySelectorAll("td")[5].textContent), 0)`
	b.Eventually(sum + ` === 3`)
	b.Click(`tr[data-m] a`)
	b.Eventually(`document.querySelector("#edit form")`)
	b.Type(`input[name=w_lf]`, "2.5")
	b.Click(`input[type=checkbox][name=w_status_N]`)
	b.Click(`#edit button`)
	b.Eventually(`document.querySelector("tr[data-m] td").textContent === "2.50"`)
	require.Contains(t, b.Text(`tr[data-m] td:nth-of-type(5)`), "Drn")
	if file := screenshot(); file != "" {
		b.Eval("scrollTo(0, 0)", nil)
		b.Screenshot(file)
	}
	b.Open(s.URL + "/balancer-manager?b=app")
	hostile := `http://127.0.0.1:1/"><script>document.title="bad"</script>`
	b.Type(`input[name=b_nwrkr]`, hostile)
	b.Click(`#add button`)
	b.Eventually(`document.querySelectorAll("tr[data-m]").length === 3`)
	require.Contains(t, b.Text(`tr[data-m]:nth-of-type(3)`), `<script>`)
	var title string
	b.Eval(`return document.title`, &title)
	require.Equal(t, "Balancer manager", title)

	// A page of another site posts the same form, with the right nonce.
	var nonce string
	b.Eval(`return document.querySelector("input[name=nonce]").value`, &nonce)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form method="post" action="%s/balancer-manager"><input name="b" value="app"><input name="nonce" value="%s"><input name="b_lbm" value="first"><button>win</button></form>`, s.URL, nonce)
	}))
	defer evil.Close()
	b.Open(strings.Replace(evil.URL, "127.0.0.1", "localhost", 1))
	b.Click("button")
	b.Eventually(`document.querySelector("#message")`)
	require.Contains(t, b.Text("#message"), "another site")
	b.Open(s.URL + "/balancer-manager")
	require.Contains(t, b.Text("dl"), "byrequests")
}
