package cache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/disk"
)

// scene is a cache between a client and an origin, and what happens there one
// thing after another, in virtual time.
type scene struct {
	name  string
	cache func(*Cache) // sets fields; may be nil
	steps []act
}

// act is a request of the client and what has to come of it. In fields, @n is
// the date n seconds from the act on.
type act struct {
	wait   int    // seconds since the act before
	method string // GET
	path   string // "/"
	send   []string

	// What the origin answers, if it is asked.
	status  int // 200
	answer  []string
	content string // "answer of step n", by the number of the act

	by     who      // who has to answer
	asked  []string // fields that the origin has to get; "-Name" that it must not
	want   int      // status that the client has to get; 0: the origin's, or 200 from the cache
	fields []string // fields that the client has to get; "-Name" that it must not
	text   string   // body that the client has to get; "": that of the origin's answer which fits; "*": any
}

// who answers a request.
type who string

const (
	byOrigin who = ""          // the origin, without being asked about something stored
	byCache  who = "cache"     // the cache alone
	checked  who = "validated" // the cache, after the origin said that it may
	replaced who = "replaced"  // the origin, which was asked about something stored
	either   who = "either"
)

var placeholder = regexp.MustCompile(`@(-?\d+)`)

// lines are fields with their dates filled in.
func lines(list []string) (out []string) {
	for _, line := range list {
		out = append(out, placeholder.ReplaceAllStringFunc(line, func(s string) string {
			n, _ := strconv.Atoi(s[1:])
			return time.Now().Add(time.Duration(n) * time.Second).UTC().Format(http.TimeFormat)
		}))
	}
	return out
}

// stage is the origin; it answers as the act says.
type stage struct {
	step  *act
	index int
	got   http.Header // of the request; nil: it was not asked
	times int
	text  map[string]string // by path and query: the last body that it sent
}

func (o *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.got, o.times = r.Header.Clone(), o.times+1
	for name, values := range headerOf(lines(o.step.answer)...) {
		w.Header()[name] = values
	}
	if w.Header().Get("Date") == "" {
		w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	w.Header().Set("Content-Type", "text/plain")
	status := o.step.status
	if status == 0 {
		status = http.StatusOK
	}
	content := o.step.content
	if content == "" {
		content = fmt.Sprintf("answer of step %d", o.index+1)
	}
	if status == http.StatusNotModified || status == http.StatusNoContent || r.Method == http.MethodHead {
		w.WriteHeader(status)
		return
	}
	if r.Method == http.MethodGet && status < 300 {
		o.text[r.URL.RequestURI()] = content
	}
	if w.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, content)
}

// face is a way to use a Cache.
type face struct {
	name string
	do   func(t *testing.T, c *Cache, o http.Handler) func(*http.Request) *http.Response
}

var faces = []face{
	{"Handler", func(_ *testing.T, c *Cache, o http.Handler) func(*http.Request) *http.Response {
		return served(c.Wrap(o))
	}},
	{"Transport", func(_ *testing.T, c *Cache, o http.Handler) func(*http.Request) *http.Response {
		rt := c.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			o.ServeHTTP(w, r)
			res := w.Result()
			res.Request = r
			return res, nil
		}))
		return func(r *http.Request) *http.Response {
			r.RequestURI = ""
			res, err := rt.RoundTrip(r)
			if err != nil {
				panic(err)
			}
			return res
		}
	}},
}

// onDisk is a face whose store is on disk; it is not for every table, since it
// takes its time.
var onDisk = face{"Disk", func(t *testing.T, c *Cache, o http.Handler) func(*http.Request) *http.Response {
	d := &disk.Store{Root: t.TempDir(), DirLevels: -1}
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	c.Store = d
	return served(c.Wrap(o))
}}

func served(h http.Handler) func(*http.Request) *http.Response {
	return func(r *http.Request) *http.Response {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// play lets a scene happen once for each face of the cache.
func play(t *testing.T, scenes []scene, more ...face) {
	for _, sc := range scenes {
		for _, f := range append(more, faces...) {
			t.Run(sc.name+"/"+f.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { sc.play(t, f) })
			})
		}
	}
}

func (sc *scene) play(t *testing.T, f face) {
	c := &Cache{}
	if sc.cache != nil {
		sc.cache(c)
	}
	defer c.Close()
	o := &stage{text: map[string]string{}}
	do := f.do(t, c, o)
	for i := range sc.steps {
		s := &sc.steps[i]
		time.Sleep(time.Duration(s.wait) * time.Second)
		o.step, o.index, o.got = s, i, nil
		s.play(t, fmt.Sprintf("step %d", i+1), o, do)
	}
}

func (s *act) play(t *testing.T, name string, o *stage, do func(*http.Request) *http.Response) {
	method, path := s.method, s.path
	if method == "" {
		method = http.MethodGet
	}
	if path == "" {
		path = "/"
	}
	r := httptest.NewRequestWithContext(context.Background(), method, "http://example.org"+path, nil)
	if method == http.MethodPost {
		r = httptest.NewRequestWithContext(context.Background(), method, "http://example.org"+path, strings.NewReader("abc"))
	}
	r.Header = headerOf(lines(s.send)...)
	before := o.text[r.URL.RequestURI()]
	res := do(r)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err, name)
	require.NoError(t, res.Body.Close(), name)
	synctest.Wait() // what goes on in the background

	conditional := o.got != nil && (o.got.Get("If-None-Match") != "" || o.got.Get("If-Modified-Since") != "")
	got := byOrigin
	switch {
	case o.got == nil:
		got = byCache
	case conditional && s.status == http.StatusNotModified:
		got = checked
	case conditional:
		got = replaced
	}
	switch s.by {
	case either:
	default:
		require.Equal(t, s.by, got, "%s: who answered; the origin got %v", name, o.got)
	}
	for _, line := range lines(s.asked) {
		requireField(t, name+": asked", o.got, line)
	}
	want := s.want
	if want == 0 {
		if want = http.StatusOK; s.status != 0 && s.status != http.StatusNotModified && o.got != nil {
			want = s.status
		}
	}
	require.Equal(t, want, res.StatusCode, name)
	for _, line := range lines(s.fields) {
		requireField(t, name, res.Header, line)
	}
	text := s.text
	switch {
	case text == "*", want == http.StatusGatewayTimeout:
		return
	case text != "":
	case method == http.MethodHead, want == http.StatusNotModified, want == http.StatusNoContent, want == http.StatusRequestedRangeNotSatisfiable:
		require.Empty(t, string(body), name)
		return
	case got == byOrigin || got == replaced:
		return
	default:
		text = before
	}
	require.Equal(t, text, string(body), name)
}

func requireField(t *testing.T, name string, h http.Header, line string) {
	t.Helper()
	if field, ok := strings.CutPrefix(line, "-"); ok {
		require.Empty(t, h[http.CanonicalHeaderKey(field)], "%s: %s", name, field)
		return
	}
	field, value, _ := strings.Cut(line, ":")
	require.Equal(t, strings.TrimSpace(value), strings.Join(h[http.CanonicalHeaderKey(field)], ", "), "%s: %s", name, field)
}
