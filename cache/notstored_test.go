package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/accesslog"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// sick is a store that fails in one operation.
type sick struct {
	memory.Store
	create, write, commit error
}

func (s *sick) Create(ctx context.Context, m *store.Meta) (store.Writer, error) {
	if s.create != nil {
		return nil, s.create
	}
	w, err := s.Store.Create(ctx, m)
	return &sickWriter{w, s}, err
}

type sickWriter struct {
	store.Writer
	s *sick
}

func (w *sickWriter) Write(p []byte) (int, error) {
	if w.s.write != nil {
		return 0, w.s.write
	}
	return w.Writer.Write(p)
}

func (w *sickWriter) Commit(m *store.Meta, old ...store.Entry) error {
	if w.s.commit != nil {
		return w.s.commit
	}
	return w.Writer.Commit(m, old...)
}

// TestWhyNotStored: the record says so, whichever face the cache has, and so does
// the access log.
func TestWhyNotStored(t *testing.T) {
	broken := errors.New("disk full")
	long := strings.Repeat("x", 2000)
	for name, tc := range map[string]struct {
		c      *cache.Cache
		ask    func(*http.Request)
		status int
		fields []string
		body   string
		want   string
		late   bool // told when the answer has begun
	}{
		"stored":             {fields: []string{"Cache-Control: max-age=60"}},
		"no-store":           {fields: []string{"Cache-Control: no-store"}, want: "no-store"},
		"no-store, asked":    {ask: with("Cache-Control", "no-store"), fields: []string{"Cache-Control: max-age=60"}, want: "no-store"},
		"private":            {fields: []string{"Cache-Control: private, max-age=60"}, want: "private"},
		"Authorization":      {ask: with("Authorization", "Basic dTpw"), fields: []string{"Cache-Control: max-age=60"}, want: "Authorization"},
		"status 500":         {status: 500, want: "status 500"},
		"status 302":         {status: 302, want: "status 302"},
		"status 412":         {status: 412, fields: []string{"Cache-Control: max-age=60"}, want: "status 412"},
		"must-understand":    {status: 299, fields: []string{"Cache-Control: must-understand, max-age=60"}, want: "must-understand"},
		"Set-Cookie":         {fields: []string{"Cache-Control: max-age=60", "Set-Cookie: a=b"}, want: "Set-Cookie"},
		"Vary *":             {fields: []string{"Cache-Control: max-age=60", "Vary: *"}, want: "Vary *"},
		"Vary":               {ask: with("X-Long", strings.Repeat("x", 5000)), fields: []string{"Cache-Control: max-age=60", "Vary: X-Long"}, want: "Vary"},
		"method":             {ask: func(r *http.Request) { r.Method = "POST" }, want: "method"},
		"HEAD":               {ask: func(r *http.Request) { r.Method = "HEAD" }, fields: []string{"Cache-Control: max-age=60"}, want: "method"},
		"no lifetime":        {want: "no lifetime"},
		"a broken lifetime":  {fields: []string{"Expires: 0"}, want: "no lifetime"},
		"no-cache":           {fields: []string{"Cache-Control: no-cache"}, want: "no-cache"},
		"expired":            {fields: []string{"Cache-Control: max-age=60", "Age: 90"}, want: "expired"},
		"query":              {c: &cache.Cache{QueryNeedsExpiry: true}, ask: func(r *http.Request) { r.URL.RawQuery = "a=1" }, fields: []string{"Last-Modified: Mon, 02 Jan 2006 15:04:05 GMT"}, want: "query"},
		"Content-Range":      {ask: with("Range", "bytes=0-1"), status: 206, fields: []string{"Cache-Control: max-age=60"}, want: "Content-Range"},
		"bypass":             {c: &cache.Cache{Bypass: func(*http.Request) bool { return true }}, want: "bypass"},
		"body":               {ask: func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 1 }, want: "body"},
		"condition":          {ask: with("If-Match", `"a"`), want: "condition"},
		"too large":          {c: &cache.Cache{MaxFileSize: 1000}, fields: []string{"Cache-Control: max-age=60"}, body: long, want: "too large", late: true},
		"too large, unknown": {c: &cache.Cache{MaxFileSize: 1000}, fields: []string{"Cache-Control: max-age=60", "Content-Length:"}, body: long, want: "too large", late: true},
		"too small":          {c: &cache.Cache{MinFileSize: 1000}, fields: []string{"Cache-Control: max-age=60"}, want: "too small", late: true},
		"too small, unknown": {c: &cache.Cache{MinFileSize: 1000}, fields: []string{"Cache-Control: max-age=60", "Content-Length:"}, want: "too small", late: true},
		"create fails":       {c: &cache.Cache{Store: &sick{create: broken}}, fields: []string{"Cache-Control: max-age=60"}, want: "store error"},
		"create is too much": {c: &cache.Cache{Store: &sick{create: store.ErrTooLarge}}, fields: []string{"Cache-Control: max-age=60"}, want: "too large"},
		"write fails":        {c: &cache.Cache{Store: &sick{write: broken}}, fields: []string{"Cache-Control: max-age=60"}, want: "store error", late: true},
		"commit fails":       {c: &cache.Cache{Store: &sick{commit: broken}}, fields: []string{"Cache-Control: max-age=60"}, want: "store error", late: true},
	} {
		for face, front := range map[string]func(*cache.Cache, *proxy.Handler) http.Handler{
			"handler": func(c *cache.Cache, h *proxy.Handler) http.Handler { return c.Wrap(h) },
			"RoundTripper": func(c *cache.Cache, h *proxy.Handler) http.Handler {
				h.Transport = c.Transport(h.Transport)
				return h
			},
		} {
			t.Run(name+"/"+face, func(t *testing.T) {
				c := tc.c
				if c == nil {
					c = new(cache.Cache)
				}
				c = fresh(c)
				defer c.Close()
				var told []string
				c.OnResult = func(_ *http.Request, res *cache.Result) { told = append(told, res.NotStored) }
				text := tc.body
				if text == "" {
					text = "hi"
				}
				h := &proxy.Handler{Target: &url.URL{Scheme: "http", Host: "o.test"}, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					resp := &http.Response{StatusCode: max(tc.status, 200), Header: http.Header{}, Request: r, ContentLength: int64(len(text)), Body: io.NopCloser(strings.NewReader(text)), ProtoMajor: 1, ProtoMinor: 1}
					for _, f := range tc.fields {
						name, value, _ := strings.Cut(f, ":")
						if value == "" {
							resp.ContentLength = -1
							continue
						}
						resp.Header.Add(name, strings.TrimSpace(value))
					}
					return resp, nil
				})}
				var line bytes.Buffer
				log, err := accesslog.New(&line, "%{not-stored}n")
				require.NoError(t, err)
				var rec exchange.Record
				done := make(chan struct{})
				o := &proxy.Observer{Done: func(_ *http.Request, got *exchange.Record) { rec = *got; close(done) }}
				r := httptest.NewRequest("GET", "http://front.test/x", nil)
				if tc.ask != nil {
					tc.ask(r)
				}
				w := httptest.NewRecorder()
				log.Wrap(o.Wrap(front(c, h))).ServeHTTP(w, r)
				select {
				case <-done:
				case <-time.After(10 * time.Second):
					t.Fatal("no record")
				}
				require.Equal(t, tc.want, rec.NotStored)
				want := tc.want
				if want == "" {
					want = "-"
				}
				require.Equal(t, want, strings.TrimSpace(line.String()))
				if !tc.late {
					require.Equal(t, []string{tc.want}, told)
				}
				if r.Method == "GET" {
					require.Equal(t, text, w.Body.String(), "the client has its answer")
				}
			})
		}
	}
}

// fresh is a Cache with the fields of c that the cases set.
func fresh(c *cache.Cache) *cache.Cache {
	return &cache.Cache{Store: c.Store, MaxFileSize: c.MaxFileSize, MinFileSize: c.MinFileSize, Bypass: c.Bypass, QueryNeedsExpiry: c.QueryNeedsExpiry}
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
