package cache

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/disk"
	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
)

// serve runs a handler behind a cache on a real server.
func serve(t *testing.T, c *Cache, h http.Handler) (url string, hc *http.Client) {
	t.Helper()
	s := httptest.NewServer(c.Wrap(h))
	t.Cleanup(func() { s.Close(); c.Close() })
	return s.URL, s.Client()
}

func fetchFrom(t *testing.T, hc *http.Client, url string, lines ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	for name, values := range headerOf(lines...) {
		r.Header[name] = values
	}
	resp, err := hc.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	return resp, bodyOf(t, resp)
}

func TestInterimAnswersPass(t *testing.T) {
	url, hc := serve(t, &Cache{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "body")
	}))
	for i, want := range []int{1, 0} { // none comes from the store
		hints := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			require.Equal(t, http.StatusEarlyHints, code)
			require.Equal(t, "</style.css>; rel=preload", h.Get("Link"))
			hints++
			return nil
		}})
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		resp, err := hc.Do(r)
		require.NoError(t, err)
		require.Empty(t, resp.Header.Get("Link"))
		require.Equal(t, "body", bodyOf(t, resp))
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, hints, "request %d", i)
	}
}

func TestTrailersAreStored(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"announced": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			w.Header().Set("Cache-Control", "max-age=60")
			fmt.Fprint(w, "body")
			w.Header().Set("X-Sum", "42")
		},
		"by prefix": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			fmt.Fprint(w, "body")
			http.NewResponseController(w).Flush()
			w.Header().Set(http.TrailerPrefix+"X-Sum", "42")
		},
		"not stored": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			fmt.Fprint(w, "body")
			w.Header().Set("X-Sum", "42")
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, hc := serve(t, &Cache{}, h)
			for range 2 {
				resp, body := fetchFrom(t, hc, url)
				require.Equal(t, "body", body)
				require.Equal(t, "42", resp.Trailer.Get("X-Sum"))
			}
		})
	}
}

func TestUpgradesPassUncached(t *testing.T) {
	c := &Cache{}
	url, _ := serve(t, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		require.NoError(t, err)
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString(line)
		_ = rw.Flush()
	}))
	for _, head := range []string{"Connection: keep-alive, Upgrade\r\nUpgrade: echo\r\n", ""} { // announced, and not
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		require.NoError(t, err)
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n"+head+"\r\n")
		br := bufio.NewReader(conn)
		resp, err := http.ReadResponse(br, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		_, _ = io.WriteString(conn, "hello\n")
		line, err := br.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "hello\n", line)
		require.NoError(t, conn.Close())
	}
}

func TestWritersKeepWhatTheyCan(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead, http.MethodOptions} {
		s := httptest.NewServer(new(Cache).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusOK)
			require.NoError(t, http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)))
			require.Implements(t, (*io.ReaderFrom)(nil), w)
			require.Implements(t, (*http.Flusher)(nil), w)
			require.Implements(t, (*http.Hijacker)(nil), w)
			_, err := io.Copy(w, strings.NewReader("copied"))
			require.NoError(t, err)
			require.NoError(t, http.NewResponseController(w).Flush())
		})))
		r, _ := http.NewRequest(method, s.URL, nil)
		resp, err := s.Client().Do(r)
		require.NoError(t, err)
		if method != http.MethodHead {
			require.Equal(t, "copied", bodyOf(t, resp))
		}
		require.NoError(t, resp.Body.Close())
		s.Close()
	}
}

func TestPanicsReachTheServer(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"before the head": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"in a body that is stored": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			fmt.Fprint(w, "half")
			panic(http.ErrAbortHandler)
		},
		"in a body that is not": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "half")
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Cache{}
			url, hc := serve(t, c, h)
			resp, err := hc.Get(url)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			require.Error(t, err)
			require.Zero(t, c.Stats().Store.Entries)
		})
	}
}

// A handler that leaves its type to be guessed gets the same guess each time.
func TestContentTypeIsGuessedOnce(t *testing.T) {
	url, hc := serve(t, &Cache{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.Path == "/none" {
			w.Header()["Content-Type"] = nil
		}
		fmt.Fprint(w, "<html>")
	}))
	for range 2 {
		resp, _ := fetchFrom(t, hc, url)
		require.Equal(t, "text/html; charset=utf-8", resp.Header.Get("Content-Type"))
		resp, _ = fetchFrom(t, hc, url+"/none")
		require.NotContains(t, resp.Header, "Content-Type")
	}
}

// What the access log and others outside have put into the header stays.
func TestOuterHeaderStays(t *testing.T) {
	c := &Cache{}
	in := c.Wrap(newOrigin(t, *ok("x", "Cache-Control: max-age=60", "Vary: A", "X-In: 1")))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Origin")
		w.Header().Set("X-Outer", "1")
		in.ServeHTTP(w, r)
	}))
	defer s.Close()
	for range 3 {
		resp, _ := fetchFrom(t, s.Client(), s.URL)
		require.Equal(t, []string{"Origin", "A"}, resp.Header.Values("Vary"))
		require.Equal(t, "1", resp.Header.Get("X-Outer"))
	}
}

func TestClientLeavesWhileTheOriginThinks(t *testing.T) {
	for name, line := range map[string]string{"to be stored": "Cache-Control: max-age=60", "not": "Cache-Control: no-store"} {
		t.Run(name, func(t *testing.T) {
			asked, begin := make(chan struct{}), make(chan struct{})
			var ended atomic.Int64
			c := &Cache{}
			url, hc := serve(t, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer ended.Add(1)
				if r.URL.Path == "/" {
					close(asked)
					<-begin
				}
				for name, values := range headerOf(line) {
					w.Header()[name] = values
				}
				fmt.Fprint(w, "body")
			}))
			ctx, leave := context.WithCancel(t.Context())
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+"/", nil)
			go func() { <-asked; leave() }()
			_, err := hc.Do(r)
			require.ErrorIs(t, err, context.Canceled)
			close(begin)
			require.Eventually(t, func() bool { return ended.Load() == 1 }, 10*time.Second, time.Millisecond)
			if name == "to be stored" {
				require.Eventually(t, func() bool { return c.Stats().Stored == 1 }, 10*time.Second, time.Millisecond)
			}
		})
	}
}

func TestRangesAndConditionsOverTheWire(t *testing.T) {
	var content strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&content, "%05d\n", i)
	}
	body := content.String()
	for name, store := range map[string]store.Store{"memory": &memory.Store{}, "disk": &disk.Store{Root: t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			c := &Cache{Store: store}
			var asked atomic.Int64
			url, hc := serve(t, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				w.Header().Set("Cache-Control", "max-age=3600")
				w.Header().Set("Etag", `"tag"`)
				w.Header().Set("Content-Type", "text/plain")
				fmt.Fprint(w, body)
			}))
			_, got := fetchFrom(t, hc, url)
			require.True(t, body == got)
			for _, c := range []struct {
				ask    []string
				status int
				body   string
				want   string // Content-Range
			}{
				{nil, 200, body, ""},
				{[]string{"Range: bytes=0-5"}, 206, body[:6], "bytes 0-5/120000"},
				{[]string{"Range: bytes=119994-"}, 206, body[119994:], "bytes 119994-119999/120000"},
				{[]string{"Range: bytes=-6"}, 206, body[119994:], "bytes 119994-119999/120000"},
				{[]string{"Range: bytes=60000-99999"}, 206, body[60000:100000], "bytes 60000-99999/120000"},
				{[]string{"Range: bytes=120000-"}, 416, "", "bytes */120000"},
				{[]string{"Range: lines=1-2"}, 200, body, ""},
				{[]string{"Range: bytes=0-5", `If-Range: "tag"`}, 206, body[:6], "bytes 0-5/120000"},
				{[]string{"Range: bytes=0-5", `If-Range: "other"`}, 200, body, ""},
				{[]string{"Range: bytes=0-5", `If-None-Match: "tag"`}, 304, "", ""},
				{[]string{"Range: bytes=0-5", `If-None-Match: "other"`}, 206, body[:6], "bytes 0-5/120000"},
			} {
				resp, got := fetchFrom(t, hc, url, c.ask...)
				require.Equal(t, c.status, resp.StatusCode, "%v", c.ask)
				require.True(t, c.body == got, "%v: %d bytes", c.ask, len(got))
				require.Equal(t, c.want, resp.Header.Get("Content-Range"), "%v", c.ask)
			}
			resp, got := fetchFrom(t, hc, url, "Range: bytes=0-5,12-17,-6")
			require.Equal(t, http.StatusPartialContent, resp.StatusCode)
			mark := strings.TrimPrefix(resp.Header.Get("Content-Type"), "multipart/byteranges; boundary=")
			part := func(at, text string) string {
				return "--" + mark + "\r\nContent-Type: text/plain\r\nContent-Range: bytes " + at + "/120000\r\n\r\n" + text + "\r\n"
			}
			require.Equal(t, part("0-5", body[:6])+part("12-17", body[12:18])+part("119994-119999", body[119994:])+"--"+mark+"--\r\n", got)
			require.Equal(t, int64(len(got)), resp.ContentLength)
			require.Equal(t, int64(1), asked.Load())
			if d, ok := store.(*disk.Store); ok {
				require.NoError(t, d.Close())
			}
		})
	}
}
