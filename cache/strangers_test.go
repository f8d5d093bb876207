package cache

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/proxy"
)

// By what name a field was written makes no difference to any rule: a RoundTripper
// gets what its caller has put into the map, a handler what middleware has.
func TestNamesInRequestsHaveNoCase(t *testing.T) {
	for field, storedFor := range map[string]string{
		"x-user": "alice", "X-USER": "alice", "authorization": "Basic a", "cache-control": "no-store",
		"if-match": `"a"`, "x-forwarded-host": "alice.test", "upgrade": "h2c",
	} {
		for name, front := range fronts {
			t.Run(field+"/"+name, func(t *testing.T) {
				n := 0
				h := front(&Cache{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					n++
					w.Header().Set("Cache-Control", "max-age=60")
					w.Header().Set("Vary", "X-User")
					_, _ = io.WriteString(w, "for "+r.Header.Get(field))
				}))
				ask := func(value string) string {
					r := httptest.NewRequest(http.MethodGet, page, nil)
					r.Header[field] = []string{value}
					if field == "upgrade" {
						r.Header["connection"] = []string{"Upgrade"}
					}
					return bodyOf(t, askWith(h, r))
				}
				require.Equal(t, "for "+storedFor, ask(storedFor))
				require.Equal(t, "for bob", ask("bob"))
				require.Equal(t, 2, n)
			})
		}
	}
}

// The user in a URL is one who shows credentials: transports make Authorization
// of it.
func TestUserInTheURL(t *testing.T) {
	for control, shared := range map[string]bool{"max-age=60": false, "public, max-age=60": true} {
		for name, transport := range map[string]func(*Cache, http.RoundTripper) http.RoundTripper{
			"RoundTripper": func(c *Cache, next http.RoundTripper) http.RoundTripper { return c.Transport(next) },
			"before a Forward": func(c *Cache, next http.RoundTripper) http.RoundTripper {
				f := openForward(next)
				f.Transports["ftp"] = next
				return handled{c.Wrap(f)}
			},
		} {
			t.Run(name+"/"+control, func(t *testing.T) {
				back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					user, _, _ := r.BasicAuth()
					w.Header().Set("Cache-Control", control)
					_, _ = io.WriteString(w, "for "+user)
				}))
				defer back.Close()
				origin := &proxy.Transport{}
				defer origin.CloseIdleConnections()
				next := transport(&Cache{}, roundTripper(func(r *http.Request) (*http.Response, error) {
					u := *r.URL
					u.Scheme, u.Host = "http", strings.TrimPrefix(back.URL, "http://")
					out := r.WithContext(r.Context())
					out.URL = &u
					return origin.RoundTrip(out)
				}))
				for _, user := range []string{"alice", "bob", ""} {
					r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://site.test/", nil)
					require.NoError(t, err)
					if name != "RoundTripper" {
						r.URL.Scheme, r.RemoteAddr = "ftp", "192.0.2.1:1"
					}
					if user != "" {
						r.URL.User = url.UserPassword(user, "1")
					}
					resp, err := next.RoundTrip(r)
					require.NoError(t, err)
					if shared {
						user = "alice"
					}
					require.Equal(t, "for "+user, bodyOf(t, resp))
					require.NoError(t, resp.Body.Close())
				}
			})
		}
	}
}

// What is in the body of a request is in no key, so that the answer to it tells
// nothing of what is stored.
func TestBodyOfARequestToRead(t *testing.T) {
	for name, front := range fronts {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, chunked := range []bool{false, true} {
				t.Run(name+"/"+method, func(t *testing.T) {
					h := front(&Cache{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						said, _ := io.ReadAll(r.Body)
						w.Header().Set("Cache-Control", "max-age=60")
						w.Header().Set("Etag", `"a"`)
						w.Header().Set("X-Said", string(said))
					}))
					require.Equal(t, "", get(h, page).Header.Get("X-Said"))
					r := httptest.NewRequest(method, page, strings.NewReader("evil"))
					r.Header.Set("Cache-Control", "no-cache")
					if chunked {
						r.ContentLength = -1
					}
					require.Equal(t, "evil", askWith(h, r).Header.Get("X-Said"))
					require.Equal(t, "", get(h, page).Header.Get("X-Said"))
				})
			}
		}
	}
}

// The rules for what may be stored hold for the trailer.
func TestTrailerIsStoredByTheRules(t *testing.T) {
	for name, front := range fronts {
		t.Run(name, func(t *testing.T) {
			h := front(&Cache{IgnoreHeaders: []string{"X-Ignored"}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", `max-age=60, private="X-Private", no-cache="X-Uncached"`)
				w.Header().Set("Connection", "X-Hop")
				_, _ = io.WriteString(w, "x")
				for _, name := range []string{"Set-Cookie", "set-cookie", "X-Ignored", "X-Private", "X-Uncached", "X-Hop", "X-Kept"} {
					w.Header()[http.TrailerPrefix+name] = []string{"a=b"}
				}
			}))
			for range 2 {
				resp := get(h, page)
				bodyOf(t, resp)
				require.Equal(t, http.Header{"X-Kept": {"a=b"}}, resp.Trailer)
			}
		})
	}
}

// Some give one strong tag to all codings, and tell of Vary with some of them
// only: their parts are never put together.
func TestPartsOfTwoCodings(t *testing.T) {
	for name, front := range fronts {
		t.Run(name, func(t *testing.T) {
			h := front(&Cache{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body := "0123456789"
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("Etag", `"a"`)
				if r.Header.Get("Accept-Encoding") != "" {
					body = "ABCDEFGHIJ"
					w.Header().Set("Content-Encoding", "gzip")
					w.Header().Set("Vary", "Accept-Encoding")
				}
				switch r.Header.Get("Range") {
				case "bytes=0-4":
					w.Header().Set("Content-Range", "bytes 0-4/10")
					body = body[:5]
				case "bytes=5-9":
					w.Header().Set("Content-Range", "bytes 5-9/10")
					body = body[5:]
				default:
					_, _ = io.WriteString(w, body)
					return
				}
				w.WriteHeader(http.StatusPartialContent)
				_, _ = io.WriteString(w, body)
			}))
			require.Equal(t, "01234", bodyOf(t, get(h, page, "Range: bytes=0-4")))
			require.Equal(t, "FGHIJ", bodyOf(t, get(h, page, "Range: bytes=5-9", "Accept-Encoding: gzip")))
			require.Equal(t, "ABCDEFGHIJ", bodyOf(t, get(h, page, "Accept-Encoding: gzip")))
		})
	}
}

func TestNamesOfFieldsHaveNoCase(t *testing.T) {
	for name, lines := range map[string]http.Header{
		"private":    {"Cache-Control": {"max-age=60"}, "cache-control": {"private"}},
		"Set-Cookie": {"Cache-Control": {"max-age=60"}, "set-cookie": {"session=secret"}},
		"Vary":       {"Cache-Control": {"max-age=60"}, "VARY": {"*"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Cache{}
			h := c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for name, values := range lines {
					w.Header()[name] = values
				}
				_, _ = io.WriteString(w, "x")
			}))
			get(h, page)
			require.Zero(t, c.Stats().Stored)
		})
	}
}
