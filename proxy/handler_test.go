package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPassesBodiesBothWays(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Got", r.Header.Get("X-Forwarded-For"))
		w.Write(b)
		io.WriteString(w, strings.Repeat("x", 200000))
	}))
	defer s.Close()
	u, _ := url.Parse(s.URL)
	var recs []Record
	f := httptest.NewServer(&Handler{Target: u, OnRecord: func(r *http.Request, rec *Record) { recs = append(recs, *rec) }})
	defer f.Close()
	c := f.Client()
	for i := 0; i < 2; i++ {
		r, err := c.Get(f.URL + "/x")
		require.NoError(t, err)
		b, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		t.Log(len(b), err, r.Header)
		r, err = c.Post(f.URL, "a/b", struct{ io.Reader }{strings.NewReader("hello")})
		require.NoError(t, err)
		b, err = io.ReadAll(r.Body)
		t.Log(len(b), err)
		r, err = c.Post(f.URL, "a/b", strings.NewReader("hello"))
		require.NoError(t, err)
		b, err = io.ReadAll(r.Body)
		t.Log(len(b), err)
	}
	for _, r := range recs {
		t.Log(r)
	}
}

func BenchmarkGet1K(b *testing.B) {
	body := []byte(strings.Repeat("x", 1024))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(body)
	}))
	defer s.Close()
	u, _ := url.Parse(s.URL)
	run := func(name string, h http.Handler) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("GET", "/", nil)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
			}
		})
	}
	run("modproxy", &Handler{Target: u})
	run("httputil", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u); r.SetXForwarded() }})
}
