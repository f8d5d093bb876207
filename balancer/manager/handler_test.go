package manager

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/balancer"
)

const hostile = `"><script>alert(1)</script>`

// empty answers without content.
type empty struct{}

func (empty) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

// managed is a balancer of three members behind a manager.
func managed(t *testing.T) (*balancer.Balancer, *Handler) {
	b, err := balancer.New(balancer.Config{Name: "app"},
		balancer.MemberConfig{Name: "one", URL: "http://127.0.0.1:1", Route: "r1", RoundTripper: empty{}},
		balancer.MemberConfig{Name: hostile, URL: "http://127.0.0.1:2/x"},
		balancer.MemberConfig{Name: "checked", URL: "http://127.0.0.1:3", Flags: balancer.Stopped, Check: &balancer.Check{Method: "GET", Interval: time.Hour}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b, New(b)
}

func look(m *Handler, query string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "/bm"+query, nil))
	return w
}

// submit posts a form; the nonce is added unless the form has one.
func submit(m *Handler, form url.Values, change ...func(*http.Request)) *httptest.ResponseRecorder {
	if !form.Has("nonce") {
		m.setup()
		if b := m.find(form.Get("b")); b != nil {
			form.Set("nonce", m.nonce(b))
		}
	}
	r := httptest.NewRequest("POST", "/bm", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w
}

func TestPage(t *testing.T) {
	_, m := managed(t)
	w := look(m, "?b=app&w="+url.QueryEscape(hostile))
	require.Equal(t, 200, w.Code)
	text := w.Body.String()
	require.NotContains(t, text, "<script>alert")
	require.Contains(t, text, "&lt;script&gt;alert(1)")
	require.Contains(t, text, "Everybody who can reach this page")
	require.Contains(t, text, `name="w_lf"`)
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
	require.NotContains(t, w.Header().Get("Content-Security-Policy"), "unsafe")
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	for _, url := range []string{"?b=nobody", "?b=app&w=nobody", "?b=app"} {
		require.Equal(t, 200, look(m, url).Code, url)
	}
	m.Guarded = true
	require.NotContains(t, look(m, "").Body.String(), "Everybody")
}

// TestFormats: machines get the nonce as well, so that they can make
// changes.
func TestFormats(t *testing.T) {
	b, m := managed(t)
	var s struct {
		Balancers []struct {
			Name, Nonce string
			Members     []struct {
				Name, Status string
				Config       balancer.MemberConfig
			}
		}
	}
	require.NoError(t, json.Unmarshal(look(m, "?json=1").Body.Bytes(), &s))
	require.Equal(t, "app", s.Balancers[0].Name)
	require.Equal(t, m.nonce(b), s.Balancers[0].Nonce)
	require.Equal(t, "r1", s.Balancers[0].Members[0].Config.Route)
	require.Equal(t, hostile, s.Balancers[0].Members[1].Name)
	require.Equal(t, "Init Stop", s.Balancers[0].Members[2].Status)

	w := look(m, "?xml=1")
	require.Equal(t, "text/xml; charset=utf-8", w.Header().Get("Content-Type"))
	d := xml.NewDecoder(w.Body)
	elements := make(map[string]string)
	name := ""
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		switch tok := tok.(type) {
		case xml.StartElement:
			require.Equal(t, "http://httpd.apache.org", tok.Name.Space)
			name = tok.Name.Local
		case xml.CharData:
			elements[name] += string(tok)
		}
	}
	require.Contains(t, elements["name"], "balancer://app")
	require.Contains(t, elements["name"], hostile)
	require.Contains(t, elements["nonce"], m.nonce(b))
}

func TestChangesMembers(t *testing.T) {
	b, m := managed(t)
	changed := 0
	m.OnChange = func(*balancer.Balancer) { changed++ }
	w := submit(m, url.Values{
		"b": {"app"}, "w": {"one"}, "w_lf": {"2.5"}, "w_ls": {"3"}, "w_wr": {"r9"}, "w_rr": {"r2"},
		"w_status_D": {"0", "1"}, "w_status_H": {"1"}, "w_status_I": {"0"},
	})
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	require.Equal(t, "?b=app&w=one", w.Header().Get("Location"))
	c := b.Member("one").Config()
	require.Equal(t, 2.5, c.LoadFactor)
	require.Equal(t, 3, c.LBSet)
	require.Equal(t, "r9", c.Route)
	require.Equal(t, "r2", c.Redirect)
	require.Equal(t, balancer.Disabled|balancer.HotStandby, c.Flags)
	require.Equal(t, 1, changed)

	require.Equal(t, http.StatusSeeOther, submit(m, url.Values{"b": {"app"}, "w": {"checked"}, "w_hi": {"7.5"}, "w_hp": {"2"}, "w_hf": {"4"}, "w_hu": {"/h"}}).Code)
	k := b.Member("checked").Config().Check
	require.Equal(t, balancer.Check{Method: "GET", Interval: 7500 * time.Millisecond, Passes: 2, Fails: 4, Path: "/h"}, *k)

	require.Equal(t, http.StatusSeeOther, submit(m, url.Values{"b": {"app"}, "w": {hostile}, "do": {"remove"}}).Code)
	require.Len(t, b.Members(), 2)
}

// TestChangesNothingWhenRefused: a change is made whole or not at all.
func TestChangesNothingWhenRefused(t *testing.T) {
	b, m := managed(t)
	for _, tc := range []struct {
		name string
		form url.Values
		code int
	}{
		{"no nonce", url.Values{"b": {"app"}, "w": {"one"}, "w_lf": {"9"}, "nonce": {""}}, 403},
		{"another nonce", url.Values{"b": {"app"}, "w": {"one"}, "w_lf": {"9"}, "nonce": {strings.Repeat("0", 32)}}, 403},
		{"no number", url.Values{"b": {"app"}, "w": {"one"}, "w_lf": {"9"}, "w_ls": {"x"}}, 400},
		{"out of range", url.Values{"b": {"app"}, "w": {"one"}, "w_lf": {"9"}, "w_ls": {"100"}}, 400},
		{"factor below one", url.Values{"b": {"app"}, "w": {"one"}, "w_lf": {"0.5"}}, 400},
		{"no factor", url.Values{"b": {"app"}, "w": {"one"}, "w_lf": {"NaN"}}, 400},
		{"flag", url.Values{"b": {"app"}, "w": {"one"}, "w_lf": {"9"}, "w_status_D": {"yes"}}, 400},
		{"unknown member", url.Values{"b": {"app"}, "w": {"nobody"}, "w_lf": {"9"}}, 400},
		{"unknown balancer", url.Values{"b": {"nobody"}, "w_lf": {"9"}}, 404},
		{"unknown method", url.Values{"b": {"app"}, "b_lbm": {"best"}, "b_max": {"7"}}, 400},
		{"bad timeout", url.Values{"b": {"app"}, "b_tmo": {"-1"}, "b_max": {"7"}}, 400},
		{"bad name of a session", url.Values{"b": {"app"}, "b_ss": {"a;b"}, "b_max": {"7"}}, 400},
		{"bad URL", url.Values{"b": {"app"}, "b_wyes": {"1"}, "b_nwrkr": {"nothing"}}, 400},
		{"too large", url.Values{"b": {"app"}, "w_wr": {strings.Repeat("x", 70000)}}, 413},
	} {
		before := fmt.Sprint(b.Snapshot())
		w := submit(m, tc.form)
		require.Equal(t, tc.code, w.Code, "%s: %s", tc.name, w.Body)
		require.Equal(t, before, fmt.Sprint(b.Snapshot()), tc.name)
	}
}

// TestRefusesForgedRequests: a page of another site cannot make a
// change, even one that has learnt the nonce.
func TestRefusesForgedRequests(t *testing.T) {
	b, m := managed(t)
	for _, forged := range []func(*http.Request){
		func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
	} {
		require.Equal(t, 403, submit(m, url.Values{"b": {"app"}, "w": {"one"}, "w_lf": {"9"}}, forged).Code)
	}
	require.Equal(t, 303, submit(m, url.Values{"b": {"app"}, "w": {"one"}, "w_lf": {"9"}}, func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}).Code)
	require.Equal(t, 9.0, b.Member("one").Config().LoadFactor)

	// A GET changes nothing.
	look(m, "?b=app&w=one&w_lf=4&nonce="+m.nonce(b))
	require.Equal(t, 9.0, b.Member("one").Config().LoadFactor)
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("DELETE", "/bm", nil))
	require.Equal(t, 405, w.Code)
	require.Equal(t, "GET, HEAD, POST", w.Header().Get("Allow"))
}

func TestChangesBalancer(t *testing.T) {
	b, m := managed(t)
	require.Equal(t, 303, submit(m, url.Values{"b": {"app"}, "b_lbm": {"bytraffic"}, "b_tmo": {"1.5"}, "b_max": {"2"}, "b_ss": {"SID|sid"}, "b_sforce": {"0", "1"}}).Code)
	c := b.Config()
	require.Equal(t, "bytraffic", balancer.MethodName(c.Method))
	require.Equal(t, 1500*time.Millisecond, c.Timeout)
	require.Equal(t, 2, c.MaxAttempts)
	require.Equal(t, balancer.Sticky{Cookie: "SID", Param: "sid", NoFailover: true}, c.Sticky)
	require.Equal(t, 303, submit(m, url.Values{"b": {"app"}, "b_ss": {"-"}}).Code)
	require.Empty(t, b.Config().Sticky.Cookie)
}

// TestGrowth: members can be added within growth, and start disabled.
func TestGrowth(t *testing.T) {
	b, m := managed(t)
	require.NoError(t, b.Configure(func(c *balancer.Config) { c.Growth = 2 }))
	add := func(u, enable string) int {
		return submit(m, url.Values{"b": {"app"}, "b_wyes": {"1"}, "b_nwrkr": {u}, "enable": {enable}}).Code
	}
	require.Equal(t, 303, add("http://127.0.0.1:11/", ""))
	require.Equal(t, balancer.Disabled, b.Member("http://127.0.0.1:11/").Flags())
	require.Equal(t, 303, add("http://127.0.0.1:12/", "1"))
	require.Zero(t, b.Member("http://127.0.0.1:12/").Flags())
	require.Equal(t, 400, add("http://127.0.0.1:13/", "1"))
	require.Len(t, b.Members(), 5)
	require.NotContains(t, look(m, "?b=app").Body.String(), "b_nwrkr")
	require.Equal(t, 303, submit(m, url.Values{"b": {"app"}, "w": {"http://127.0.0.1:12/"}, "do": {"remove"}}).Code)
	require.Equal(t, 303, add("http://127.0.0.1:13/", "1"))
}

func TestJSONChange(t *testing.T) {
	b, m := managed(t)
	m.setup()
	post := func(body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/bm", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		return w
	}
	w := post(`{"b":"app","w":"one","w_lf":4,"w_status_N":true,"nonce":"` + m.nonce(b) + `"}`)
	require.Equal(t, 200, w.Code, w.Body)
	require.Equal(t, 4.0, b.Member("one").Config().LoadFactor)
	require.Equal(t, balancer.Draining, b.Member("one").Flags())
	w = post(`{"b":"app","w":"one","w_lf":5}`)
	require.Equal(t, 403, w.Code)
	require.JSONEq(t, `{"error":"the nonce does not fit: load the page anew"}`, w.Body.String())
	require.Equal(t, 400, post(`{"b":["app"]}`).Code)
	require.Equal(t, 400, post(`{`).Code)
}

func TestAccess(t *testing.T) {
	_, m := managed(t)
	m.ReadOnly = true
	text := look(m, "?b=app").Body.String()
	require.NotContains(t, text, "<form")
	require.Contains(t, text, "can see it")
	require.NotContains(t, look(m, "?json=1").Body.String(), "nonce")
	require.Equal(t, 403, submit(m, url.Values{"b": {"app"}, "b_max": {"1"}}).Code)
	m.Allow = func(r *http.Request) bool { return r.Header.Get("X-Admin") != "" }
	require.Equal(t, 403, look(m, "").Code)
	require.Contains(t, look(&Handler{}, "").Body.String(), "There are no balancers")
}

// TestHistory: rates are those between two looks, and are forgotten with
// their member.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := managed(t)
		b.Member(hostile).SetFlags(balancer.Disabled, 0)
		for i := range historySize + 5 {
			for range 10 * i {
				_, err := b.RoundTrip(httptest.NewRequest("GET", "http://app/", nil))
				require.NoError(t, err)
			}
			look(m, "?live=1")
			time.Sleep(2 * time.Second)
		}
		m.mu.Lock()
		rates := m.history[b.Member("one")].rates
		m.mu.Unlock()
		require.Len(t, rates, historySize)
		require.Equal(t, 5.0*(historySize+4), rates[historySize-1])
		points := strings.Fields(chartPoints(rates))
		require.Len(t, points, historySize)
		require.Equal(t, "120,1.0", points[historySize-1])
		require.True(t, strings.HasPrefix(points[0], "1,") || strings.HasPrefix(points[0], "0,"), points[0])
		submit(m, url.Values{"b": {"app"}, "w": {"one"}, "do": {"remove"}})
		look(m, "")
		m.mu.Lock()
		require.Len(t, m.history, 2)
		m.mu.Unlock()
		require.NoError(t, b.Close())
	})
}

// TestChangesNothingElse: what the page shows and gets back unchanged
// stays as it is, to the nanosecond, and so do the counts of checks.
func TestChangesNothingElse(t *testing.T) {
	check := &balancer.Check{Method: "GET", Interval: 1001 * time.Millisecond}
	b, err := balancer.New(balancer.Config{Name: "app", Timeout: 1003 * time.Millisecond, Sticky: balancer.Sticky{Cookie: "SID"}},
		balancer.MemberConfig{Name: "one", URL: "http://127.0.0.1:1", Flags: balancer.Stopped, Check: check})
	require.NoError(t, err)
	defer b.Close()
	m := New(b)
	w := submit(m, url.Values{"b": {"app"}, "w": {"one"}, "w_wr": {"r1"}, "w_hi": {"1.001"}, "w_hp": {"0"}, "w_hf": {"0"}, "w_hu": {""}})
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	require.Same(t, check, b.Member("one").Config().Check)
	for _, form := range []url.Values{
		{"b": {"app"}, "b_max": {"1"}},
		{"b": {"app"}, "b_max": {"2"}, "b_tmo": {"1.003"}, "b_ss": {"SID"}},
	} {
		require.Equal(t, http.StatusSeeOther, submit(m, form).Code)
		require.Equal(t, 1003*time.Millisecond, b.Config().Timeout)
		require.Equal(t, balancer.Sticky{Cookie: "SID"}, b.Config().Sticky)
	}
}

// TestBehindStripPrefix: after a change the browser comes back to the
// page, whatever path the manager sees.
func TestBehindStripPrefix(t *testing.T) {
	_, m := managed(t)
	front := httptest.NewServer(http.StripPrefix("/admin", m))
	defer front.Close()
	m.setup()
	resp, err := front.Client().PostForm(front.URL+"/admin/bm", url.Values{"b": {"app"}, "nonce": {m.nonce(m.find("app"))}, "b_max": {"1"}})
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "/admin/bm", resp.Request.URL.Path)
}
