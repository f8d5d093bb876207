package cache

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/memory"
	"github.com/modproxy/modproxy/cache/store"
)

// failing is a store that fails on purpose.
type failing struct {
	memory.Store
	get, create, write, commit bool
	after                      int // bytes
}

func (s *failing) Get(ctx context.Context, key string) ([]store.Entry, error) {
	if s.get {
		return nil, errFull
	}
	return s.Store.Get(ctx, key)
}

func (s *failing) Create(ctx context.Context, m *store.Meta) (store.Writer, error) {
	if s.create {
		return nil, errFull
	}
	w, err := s.Store.Create(ctx, m)
	return &failingWriter{Writer: w, s: s}, err
}

type failingWriter struct {
	store.Writer
	s *failing
	n int
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if !w.s.write || w.n+len(p) <= w.s.after {
		w.n += len(p)
		return w.Writer.Write(p)
	}
	n, _ := w.Writer.Write(p[:w.s.after-w.n])
	w.n += n
	return n, errFull
}

func (w *failingWriter) Commit(m *store.Meta, old ...store.Entry) error {
	if w.s.commit {
		return errFull
	}
	return w.Writer.Commit(m, old...)
}

func TestBrokenStoreIsAPassThrough(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	for name, s := range map[string]*failing{
		"Get": {get: true}, "Create": {create: true}, "Commit": {commit: true},
		"first Write": {write: true}, "later Write": {write: true, after: 100000},
	} {
		t.Run(name, func(t *testing.T) {
			clocked(t, func(t *testing.T) {
				log := &logged{}
				c := &Cache{Store: s, Logger: log.logger()}
				o := newOrigin(t, step{header: headerOf("Cache-Control: max-age=60"), body: body})
				h := c.Wrap(o)
				for range 3 {
					resp := get(h, page)
					require.Equal(t, http.StatusOK, resp.StatusCode)
					require.True(t, body == bodyOf(t, resp))
				}
				if name != "Get" {
					require.Equal(t, 3, o.count())
				}
				require.Len(t, log.lines(), 1, "one line of log, not one a request")
			})
		})
	}
}

func TestEntriesThatNeitherOpenNorGo(t *testing.T) {
	for name, front := range fronts {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, *ok("1", "Cache-Control: max-age=60"))
			h := front(&Cache{Store: &unopenable{}}, o)
			get(h, page)
			require.Equal(t, "1", bodyOf(t, get(h, page)), "and it does not look again and again")
		})
	}
}

func TestEachFailureIsLoggedAgain(t *testing.T) {
	clocked(t, func(t *testing.T) {
		log := &logged{}
		s := &updateFails{}
		c := &Cache{Store: s, Logger: log.logger()}
		o := newOrigin(t, *ok("1", "Cache-Control: max-age=10", `ETag: "1"`), *status(304, `ETag: "1"`))
		h := c.Wrap(o)
		get(h, page)
		for _, s.fails = range []bool{true, true, false, true} {
			time.Sleep(20 * time.Second)
			get(h, page)
		}
		require.Len(t, log.lines(), 3, "%s", log.lines())
	})
}

type unopenable struct{ memory.Store }

type unopenableEntry struct{ store.Entry }

func (unopenableEntry) Open() (store.Body, error) { return nil, errFull }

func (s *unopenable) Get(ctx context.Context, key string) ([]store.Entry, error) {
	all, err := s.Store.Get(ctx, key)
	var out []store.Entry
	for _, e := range all {
		out = append(out, unopenableEntry{e})
	}
	return out, err
}

func (s *unopenable) Remove(context.Context, store.Entry) error { return errFull }

type updateFails struct {
	memory.Store
	fails bool
}

func (s *updateFails) Update(ctx context.Context, e store.Entry, m *store.Meta) error {
	if s.fails {
		return errFull
	}
	return s.Store.Update(ctx, e, m)
}
