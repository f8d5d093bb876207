package cache

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestNoMethodIsGet(t *testing.T) {
	c := &Cache{Bypass: func(r *http.Request) bool { return r.Header.Get("X-Bypass") != "" }}
	o := newOrigin(t, *ok("old", "Cache-Control: max-age=60"))
	tr := c.Transport(handled{o})
	u, _ := url.Parse(page)
	for _, h := range []http.Header{{}, {"X-Bypass": {"1"}}, {}} {
		resp, err := tr.RoundTrip((&http.Request{Method: "", URL: u, Header: h}))
		require.NoError(t, err)
		bodyOf(t, resp)
		resp.Body.Close()
	}
	require.Equal(t, int64(0), c.Stats().Invalidated)
	require.Equal(t, 2, o.count())
}

func TestOpaqueURLs(t *testing.T) {
	c := &Cache{}
	tr := c.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: headerOf("Cache-Control: max-age=60"), ContentLength: -1,
			Body: io.NopCloser(strings.NewReader(r.URL.RequestURI()))}, nil
	}))
	for _, opaque := range []string{"/a", "/b", "//example.org/c"} {
		u := &url.URL{Scheme: "http", Host: "example.org", Opaque: opaque}
		resp, err := tr.RoundTrip(&http.Request{Method: "GET", URL: u, Header: http.Header{}})
		require.NoError(t, err)
		require.Equal(t, u.RequestURI(), bodyOf(t, resp))
		resp.Body.Close()
	}
}

func TestCloseWhileReading(t *testing.T) {
	clocked(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		c := &Cache{}
		tr := c.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: headerOf("Cache-Control: max-age=60"), ContentLength: -1, Body: pr}, nil
		}))
		resp, err := tr.RoundTrip(httptest.NewRequest("GET", page, nil))
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() {
			_, err := io.ReadAll(resp.Body)
			ended <- err
		}()
		synctest.Wait()
		resp.Body.Close()
		synctest.Wait()
		select {
		case err := <-ended:
			require.Error(t, err)
		default:
			t.Error("Read waits on")
		}
		pw.Write([]byte("x"))
		pw.Close()
		synctest.Wait()
		c.Close()
	})
}

// Once its body is closed, the request is its owner's, though the fetch goes on.
func TestRequestMayBeUsedAgain(t *testing.T) {
	clocked(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		c := &Cache{}
		bodies := []io.ReadCloser{io.NopCloser(strings.NewReader("x")), pr}
		tr := c.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
			require.NotEmpty(t, bodies)
			body := bodies[0]
			bodies = bodies[1:]
			return &http.Response{StatusCode: 200, Header: headerOf("Cache-Control: max-age=60", "Vary: X-A"), ContentLength: -1, Body: body}, nil
		}))
		request := func(value string) *http.Request {
			r := httptest.NewRequest(http.MethodGet, page, nil)
			r.Header.Set("X-A", value)
			return r
		}
		resp, err := tr.RoundTrip(request("1"))
		require.NoError(t, err)
		require.Equal(t, "x", bodyOf(t, resp))
		require.NoError(t, resp.Body.Close())
		mine := request("2")
		resp, err = tr.RoundTrip(mine)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		mine.Header.Set("X-A", "1")
		_, _ = pw.Write([]byte("y"))
		_ = pw.Close()
		synctest.Wait()
		for value, want := range map[string]string{"1": "x", "2": "y"} {
			resp, err = tr.RoundTrip(request(value))
			require.NoError(t, err)
			require.Equal(t, want, bodyOf(t, resp))
			require.NoError(t, resp.Body.Close())
		}
	})
}

// "GET http:x" is not the page of "GET /", nor that of another host.
func TestRequestTargetWithoutPath(t *testing.T) {
	c := &Cache{}
	h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, r.Host+" "+r.URL.RequestURI())
	}))
	for _, target := range []string{"http:abc", "/", "http:.test/"} {
		u, err := url.ParseRequestURI(target)
		require.NoError(t, err)
		for _, host := range []string{"example", "example.test"} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host, r.URL = host, u
			require.Equal(t, host+" "+u.RequestURI(), bodyOf(t, askWith(h, r)))
		}
	}
}

// ctxBody is a body that ends with its request.
type ctxBody struct{ ctx context.Context }

func (b ctxBody) Read([]byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

func (b ctxBody) Close() error { return nil }

// Linger is for those who leave, not for the one who has the answer itself.
func TestLingerLeavesTheAnswerOfTheLeader(t *testing.T) {
	c := &Cache{Linger: -1}
	rt := c.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{"Cache-Control": {"no-store"}}, Body: ctxBody{r.Context()}, ContentLength: -1, Request: r}, nil
	}))
	for range 5000 {
		resp, err := rt.RoundTrip(httptest.NewRequest(http.MethodGet, page, nil))
		require.NoError(t, err)
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
}

// What a cache has done is counted the same way for a handler and a RoundTripper.
func TestFacesCountAlike(t *testing.T) {
	for face, front := range fronts {
		t.Run(face, func(t *testing.T) {
			c := &Cache{Bypass: func(r *http.Request) bool { return r.Header.Get("X-Bypass") != "" }}
			h := front(c, newOrigin(t, *ok("x", "Cache-Control: max-age=60", `ETag: "a"`)))
			for range 2 {
				bodyOf(t, get(h, page))
			}
			bodyOf(t, get(h, page, `If-Match: "a"`))
			bodyOf(t, get(h, page, "X-Bypass: 1"))
			bodyOf(t, ask(h, http.MethodHead, page))
			bodyOf(t, ask(h, http.MethodOptions, page))
			bodyOf(t, ask(h, http.MethodPost, page))
			got := c.Stats()
			got.Store = nil
			require.Equal(t, Stats{Hits: 2, Misses: 2, Bypassed: 3, Fetches: 1, Stored: 1, Invalidated: 1}, got)
		})
	}
}
