package store_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"github.com/modproxy/modproxy/cache"
	"github.com/modproxy/modproxy/cache/cachetest"
	"github.com/modproxy/modproxy/cache/store"
)

// mapStore is the smallest store there is: a map under a lock, without any
// limit.
type mapStore struct {
	mu   sync.Mutex
	keys map[string][]*mapEntry
}

// mapEntry is a response. A change makes a new one with the same record.
type mapEntry struct {
	record *record
	meta   *store.Meta
}

type record struct{ body []byte }

func (e *mapEntry) Meta() *store.Meta { return e.meta }
func (e *mapEntry) Size() int64       { return int64(len(e.record.body)) }
func (e *mapEntry) Open() (store.Body, error) {
	return &mapBody{Reader: bytes.NewReader(e.record.body)}, nil
}

func (s *mapStore) Get(_ context.Context, key string) (entries []store.Entry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range slices.Backward(s.keys[key]) { // the newest first
		entries = append(entries, e)
	}
	return entries, nil
}

func (s *mapStore) Create(context.Context, *store.Meta) (store.Writer, error) {
	return &mapWriter{s: s}, nil
}

func (s *mapStore) Update(_ context.Context, e store.Entry, meta *store.Meta) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, have := range s.keys[meta.Key] {
		if have.record == e.(*mapEntry).record {
			s.keys[meta.Key][i] = &mapEntry{have.record, meta.Clone()}
		}
	}
	return nil
}

func (s *mapStore) Remove(_ context.Context, e store.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(e)
	return nil
}

func (s *mapStore) drop(e store.Entry) {
	key := e.Meta().Key
	s.keys[key] = slices.DeleteFunc(slices.Clone(s.keys[key]), func(have *mapEntry) bool { return have.record == e.(*mapEntry).record })
	if len(s.keys[key]) == 0 {
		delete(s.keys, key)
	}
}

func (s *mapStore) Walk(_ context.Context, f func(store.Entry) bool) error {
	s.mu.Lock()
	var all []*mapEntry
	for _, entries := range s.keys {
		all = append(all, entries...)
	}
	s.mu.Unlock() // f may call the store
	for _, e := range all {
		if !f(e) {
			break
		}
	}
	return nil
}

// mapWriter collects a body, which its readers may read meanwhile.
type mapWriter struct {
	s     *mapStore
	mu    sync.Mutex
	body  []byte
	ended bool
}

func (w *mapWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return 0, io.ErrClosedPipe
	}
	w.body = append(w.body, p...)
	return len(p), nil
}

func (w *mapWriter) Reader() (store.ReaderAtCloser, error) { return &mapReader{w: w}, nil }

func (w *mapWriter) Commit(meta *store.Meta, old ...store.Entry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return io.ErrClosedPipe
	}
	w.ended = true
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for _, e := range old {
		w.s.drop(e)
	}
	w.s.keys[meta.Key] = append(w.s.keys[meta.Key], &mapEntry{&record{w.body}, meta.Clone()})
	return nil
}

func (w *mapWriter) Abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}

type mapReader struct {
	w      *mapWriter
	closed bool
}

func (r *mapReader) ReadAt(p []byte, at int64) (int, error) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.closed {
		return 0, io.ErrClosedPipe
	}
	return bytes.NewReader(r.w.body).ReadAt(p, at) // io.EOF: not yet
}

func (r *mapReader) Close() error {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.closed = true
	return nil
}

type mapBody struct {
	*bytes.Reader
	closed bool
}

func (b *mapBody) Read(p []byte) (int, error) {
	if b.closed {
		return 0, io.ErrClosedPipe
	}
	return b.Reader.Read(p)
}

func (b *mapBody) Close() error { b.closed = true; return nil }

// A store of one's own, and the kit that tells what is wrong with it.
func ExampleStore() {
	make := func() (store.Store, error) { return &mapStore{keys: map[string][]*mapEntry{}}, nil }
	if err := cachetest.TestStore(make, cachetest.Claims{BigBody: 1 << 16, Rounds: 20}); err != nil {
		fmt.Println(strings.ReplaceAll(err.Error(), "\x00", ""))
	}
	s, _ := make()
	h := (&cache.Cache{Store: s, Header: true, ServerName: "edge"}).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "from the origin")
	}))
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://example.org/", nil))
		fmt.Printf("%s [%s]\n", w.Body, w.Header().Get("X-Cache"))
	}
	// Output:
	// from the origin [MISS from edge]
	// from the origin [HIT from edge]
}
