package cache

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
)

// counting is a store that counts the bodies which are open.
type counting struct {
	memory.Store
	open atomic.Int64
}

func (s *counting) Get(ctx context.Context, key string) ([]store.Entry, error) {
	entries, err := s.Store.Get(ctx, key)
	counted := make([]store.Entry, len(entries))
	for i, e := range entries {
		counted[i] = countedEntry{e, s}
	}
	return counted, err
}

type countedEntry struct {
	store.Entry
	s *counting
}

func (e countedEntry) Open() (store.Body, error) {
	e.s.open.Add(1)
	body, err := e.Entry.Open()
	return &countedBody{body, e.s}, err
}

type countedBody struct {
	store.Body
	s *counting
}

func (b *countedBody) Close() error {
	b.s.open.Add(-1)
	return b.Body.Close()
}

// TestHookThatPanics: what its answer would have been read from is given up.
func TestHookThatPanics(t *testing.T) {
	header := headerOf("Cache-Control: max-age=60")
	// Each asks a cache whose origin sends pieces, and tells when that has ended.
	for name, face := range map[string]func(c *Cache, pieces chan string, ended chan struct{}) http.Handler{
		"handler": func(c *Cache, pieces chan string, ended chan struct{}) http.Handler {
			return c.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				slowly(header, pieces)(w, r)
			}))
		},
		"RoundTripper": func(c *Cache, pieces chan string, ended chan struct{}) http.Handler {
			rt := c.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
				body := &piecewise{ctx: r.Context(), pieces: pieces, ended: ended}
				return &http.Response{StatusCode: http.StatusOK, Header: header.Clone(), ContentLength: -1, Body: body}, nil
			}))
			return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = rt.RoundTrip(r) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				s := &counting{}
				c := &Cache{Store: s, MaxFileSize: 1000, Linger: -1}
				defer c.Close()
				require.Equal(t, "one", bodyOf(t, get(c.Wrap(newOrigin(t, *ok("one", "Cache-Control: max-age=60"))), page)))
				c.OnResult = func(*http.Request, *Result) { panic("hook") }
				hit := asking(face(c, nil, nil), page)
				<-hit.done
				require.Equal(t, "hook", hit.broken)
				require.Zero(t, s.open.Load(), "the stored body")

				pieces, ended := make(chan string), make(chan struct{})
				h := face(c, pieces, ended)
				leads, follows := asking(h, page+"2"), asking(h, page+"2")
				<-leads.done
				<-follows.done
				require.Equal(t, "hook", leads.broken)
				require.Equal(t, "hook", follows.broken)
				select {
				case pieces <- strings.Repeat("x", 2*windowSize): // which is not stored, and has no reader
				case <-ended:
				}
				synctest.Wait()
				select {
				case <-ended:
				default:
					t.Error("the origin waits for readers who are gone")
				}
			})
		})
	}
}

// TestHookThatPanicsAtResponse: nobody else could close the body of the origin's own
// response.
func TestHookThatPanicsAtResponse(t *testing.T) {
	for method, header := range map[string]string{http.MethodPost: "Cache-Control: max-age=60", http.MethodGet: "Cache-Control: no-store"} {
		t.Run(method, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				ended := make(chan struct{})
				c := &Cache{OnResult: func(*http.Request, *Result) { panic("hook") }}
				defer c.Close()
				rt := c.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
					body := &piecewise{ctx: r.Context(), ended: ended}
					return &http.Response{StatusCode: http.StatusOK, Header: headerOf(header), ContentLength: -1, Body: body}, nil
				}))
				require.PanicsWithValue(t, "hook", func() { _, _ = rt.RoundTrip(httptest.NewRequest(method, page, nil)) })
				select {
				case <-ended:
				default:
					t.Error("the body is open")
				}
			})
		})
	}
}

// piecewise is a body that comes in pieces, until its request ends.
type piecewise struct {
	ctx    context.Context
	pieces chan string
	ended  chan struct{}
	rest   string
}

func (b *piecewise) Read(p []byte) (n int, err error) {
	for b.rest == "" {
		select {
		case b.rest = <-b.pieces:
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	n = copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *piecewise) Close() error {
	close(b.ended)
	return nil
}
