package proxy

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStrictQuery(t *testing.T) {
	o := echoOrigin(t)
	h, _, _ := handlerFor(t, o.url())
	strict, _, _ := handlerFor(t, o.url())
	strict.StrictQuery = true
	loose, tight := frontOf(t, h), frontOf(t, strict)
	for query, ok := range map[string]bool{"a=1&b=2": true, "a=%2F": true, "": true, "a=1;b=2": false, "a=%zz": false, "a=%2": false} {
		u := loose.URL + "/?" + query
		resp, err := client(t).Get(u)
		require.NoError(t, err)
		require.Equal(t, "/?"+query, seen(t, body(t, resp)).RequestURI, "the query passes byte for byte")
		resp, err = client(t).Get(tight.URL + "/?" + query)
		require.NoError(t, err)
		_ = resp.Body.Close()
		want := http.StatusOK
		if !ok {
			want = http.StatusBadRequest
		}
		require.Equal(t, want, resp.StatusCode, query)
	}
}

func TestPathOutsidePrefix(t *testing.T) {
	o := echoOrigin(t)
	u := o.url()
	u.Path = "/in/"
	h, b, _ := handlerFor(t, u)
	h.Prefix = "/out/"
	front := frontOf(t, h)
	resp, err := client(t).Get(front.URL + "/out/x")
	require.NoError(t, err)
	require.Equal(t, "/in/x", seen(t, body(t, resp)).RequestURI)
	resp, err = client(t).Get(front.URL + "/else")
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.EqualValues(t, 1, b.Stats().Elected)
}

func TestConstructorRefusesUnevenSlashes(t *testing.T) {
	for _, tc := range [][2]string{{"/a/", "http://b/x"}, {"/a", "http://b/x/"}, {"/a", "://"}, {"/a", "http:///x"}, {"/a", "unix:/s"}} {
		_, err := NewHandler(tc[0], tc[1])
		require.Error(t, err, "%v", tc)
	}
	h, err := NewHandler("/a/", "unix:/run/x.sock|http://app/x/")
	require.NoError(t, err)
	require.Equal(t, "unix:/run/x.sock|http://app", h.own.Backend.String())
}

func TestRequestLine(t *testing.T) {
	o := echoOrigin(t)
	h, _, _ := handlerFor(t, o.url())
	h.AllowEncodedSlashes = true
	addr := frontOf(t, h).Listener.Addr().String()
	for target, want := range map[string]string{
		"/a%2Fb;c=1?x=%zz": "/a%2Fb;c=1?x=%zz",
		"/?":               "/?",
		"/a|b":             "/a%7Cb",
		"/%41":             "/%41",
	} {
		_, text, _ := strings.Cut(exchangeRaw(t, addr, "GET "+target+" HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n"), "\r\n\r\n")
		require.Equal(t, want, strings.Fields(text)[1])
	}
}

func TestRewriteCannotSmuggle(t *testing.T) {
	o := echoOrigin(t)
	for name, change := range map[string]func(r *http.Request){
		"method": func(r *http.Request) { r.Method = "GET /x HTTP/1.1\r\nA: b" },
		"host":   func(r *http.Request) { r.Host = "a\r\nB: c" },
		"query":  func(r *http.Request) { r.URL.RawQuery = "a b" },
		"name":   func(r *http.Request) { r.Header["A b"] = []string{"c"} },
		"value":  func(r *http.Request) { r.Header["A"] = []string{"c\r\nD: e"} },
	} {
		t.Run(name, func(t *testing.T) {
			h, b, _ := handlerFor(t, o.url())
			h.Rewrite = func(r *httputil.ProxyRequest) { change(r.Out) }
			resp, err := client(t).Get(frontOf(t, h).URL)
			require.NoError(t, err)
			require.Equal(t, http.StatusBadRequest, resp.StatusCode)
			_ = resp.Body.Close()
			require.Zero(t, b.Stats().Sent)
		})
	}
	var none *url.URL
	_, err := (&Transport{}).RoundTrip(&http.Request{Method: "GET", URL: none})
	require.Error(t, err)
}
