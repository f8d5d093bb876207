package cachetest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/cachetest"
	"github.com/modproxy/modproxy/cache/store"
)

// plain is a store as simple as can be, with faults to be found.
type plain struct {
	fault string
	mu    *sync.Mutex
	all   *[]*plainEntry // from new to old
	idle  *plainBody
}

type plainEntry struct {
	store *plain
	id    *int // of the response, whatever its metadata
	meta  *store.Meta
	data  []byte
	gone  *bool
}

func newPlain(fault string) *plain {
	return &plain{fault: fault, mu: new(sync.Mutex), all: new([]*plainEntry)}
}

func (p *plain) is(fault string) bool { return p.fault == fault }

func (p *plain) Get(_ context.Context, key string) (list []store.Entry, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range *p.all {
		same := e.meta.Key == key
		if p.is("ignores case") {
			same = strings.EqualFold(e.meta.Key, key)
		}
		if p.is("cuts keys") {
			same = e.meta.Key[:min(1000, len(e.meta.Key))] == key[:min(1000, len(key))]
		}
		if same {
			list = append(list, e)
		}
	}
	if p.is("oldest first") {
		slices.Reverse(list)
	}
	return list, nil
}

func (p *plain) Create(_ context.Context, meta *store.Meta) (store.Writer, error) {
	w := &plainWriter{store: p, file: &plainFile{}}
	if p.is("visible before Commit") {
		w.publish(meta)
	}
	return w, nil
}

func (p *plain) Update(_ context.Context, entry store.Entry, meta *store.Meta) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := entry.(*plainEntry)
	for i, e := range *p.all {
		if e.id != old.id {
			continue
		}
		if p.is("updates the entry in place") {
			e.meta.Invalid, e.meta.Header = meta.Invalid, meta.Header
			return nil
		}
		updated := *e
		updated.meta = meta
		if p.is("update loses the body") {
			updated.data = nil
		}
		if p.is("update makes another response") {
			updated.id = new(int)
		}
		list := slices.Clone(*p.all)
		list[i] = &updated
		*p.all = list
		return nil
	}
	if p.is("update brings back what is gone") {
		*p.all = append([]*plainEntry{{store: p, id: new(int), meta: meta, gone: new(bool)}}, *p.all...)
	}
	if p.is("gone is an error") {
		return errors.New("gone")
	}
	return nil
}

func (p *plain) Remove(_ context.Context, entry store.Entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(entry.(*plainEntry))
	return nil
}

func (p *plain) remove(old *plainEntry) {
	list := []*plainEntry{}
	for _, e := range *p.all {
		if e.id == old.id || p.is("removes all variants") && e.meta.Key == old.meta.Key {
			*e.gone = true
			continue
		}
		list = append(list, e)
	}
	*p.all = list
}

func (p *plain) Walk(_ context.Context, f func(store.Entry) bool) error {
	p.mu.Lock()
	list := *p.all
	p.mu.Unlock()
	if p.is("walk leaves some out") && len(list) > 50 {
		list = list[:50]
	}
	for _, e := range list {
		if !f(e) && !p.is("walk does not stop") {
			return nil
		}
	}
	return nil
}

func (p *plain) Close() error {
	if p.is("close fails") {
		return errors.New("close failed")
	}
	return nil
}

func (e *plainEntry) Meta() *store.Meta { return e.meta }
func (e *plainEntry) Size() int64 {
	if e.store.is("wrong size") {
		return e.meta.Length + 1
	}
	return int64(len(e.data))
}

func (e *plainEntry) Open() (store.Body, error) {
	b := &plainBody{Reader: bytes.NewReader(e.data), entry: e}
	if e.store.is("closed bodies are handed on") {
		if idle := e.store.idle; idle != nil && idle.entry == e {
			idle.Seek(0, io.SeekStart)
			e.store.idle = nil
			return idle, nil
		}
	}
	if e.store.is("big bodies are cut") {
		b.Reader = bytes.NewReader(e.data[:min(len(e.data), 1<<20+1)])
	}
	return b, nil
}

type plainBody struct {
	*bytes.Reader
	entry  *plainEntry
	closed bool
}

func (b *plainBody) Read(p []byte) (int, error) {
	switch {
	case b.closed:
		return 0, fs.ErrClosed
	case b.entry.store.is("removing cuts readers"):
		b.entry.store.mu.Lock()
		defer b.entry.store.mu.Unlock()
		if *b.entry.gone {
			return 0, errors.New("removed")
		}
	}
	return b.Reader.Read(p)
}

func (b *plainBody) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{b})
}

func (b *plainBody) Close() error {
	if b.entry.store.is("closed bodies are handed on") {
		b.entry.store.idle = b
		return nil
	}
	b.closed = true
	return nil
}

type plainFile struct {
	mu   sync.Mutex
	data []byte
	cut  bool
}

type plainWriter struct {
	store *plain
	file  *plainFile
	done  bool
}

func (w *plainWriter) Write(p []byte) (int, error) {
	w.file.mu.Lock()
	defer w.file.mu.Unlock()
	if w.store.is("keeps the caller's buffer") && w.file.data == nil {
		w.file.data = p
		return len(p), nil
	}
	w.file.data = append(w.file.data, p...)
	return len(p), nil
}

func (w *plainWriter) publish(meta *store.Meta) *plainEntry {
	e := &plainEntry{store: w.store, id: new(int), meta: meta, data: w.file.data, gone: new(bool)}
	if w.store.is("loses the tags") {
		e.meta = meta.Clone()
		e.meta.Tags = nil
	}
	if w.store.is("drops huge headers") && len(meta.Header) > 500 {
		e.meta = meta.Clone()
		e.meta.Header = nil
	}
	*w.store.all = append([]*plainEntry{e}, *w.store.all...)
	return e
}

func (w *plainWriter) Commit(meta *store.Meta, old ...store.Entry) error {
	if w.done && !w.store.is("commits what was aborted") {
		return fs.ErrClosed
	}
	w.done = true
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if w.store.is("removes the old first") {
		for _, o := range old {
			w.store.remove(o.(*plainEntry))
		}
		w.store.mu.Unlock()
		time.Sleep(10 * time.Microsecond)
		w.store.mu.Lock()
	}
	if w.store.is("replaces all") {
		for _, e := range *w.store.all {
			if e.meta.Key == meta.Key {
				old = append(old, e)
			}
		}
	}
	w.publish(meta)
	if w.store.is("keeps the old") {
		old = nil
	}
	for _, o := range old {
		w.store.remove(o.(*plainEntry))
	}
	return nil
}

func (w *plainWriter) Abort() {
	if w.store.is("abort removes what was committed") && w.done && len(*w.store.all) > 0 {
		w.store.remove((*w.store.all)[0])
	}
	if !w.done && w.store.is("abort cuts readers") {
		w.file.cut = true
	}
	w.done = true
}

func (w *plainWriter) Reader() (store.ReaderAtCloser, error) {
	r := &plainReader{w: w}
	if w.store.is("readers see a copy") {
		r.copied = slices.Clone(w.file.data)
	}
	return r, nil
}

type plainReader struct {
	w      *plainWriter
	copied []byte
	closed bool
}

func (r *plainReader) ReadAt(p []byte, off int64) (int, error) {
	r.w.file.mu.Lock()
	defer r.w.file.mu.Unlock()
	data := r.w.file.data
	switch {
	case r.closed:
		return 0, fs.ErrClosed
	case r.w.file.cut:
		return 0, errors.New("aborted")
	case r.w.store.is("readers see a copy"):
		data = r.copied
	case r.w.store.is("readers see zeros"):
		clear(p)
		return len(p), nil
	}
	if off >= int64(len(data)) {
		return 0, io.EOF
	}
	n := copy(p, data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *plainReader) Close() error { r.closed = true; return nil }

func (p *plain) claims() cachetest.Claims {
	c := cachetest.Claims{Rounds: 20, BigBody: 1<<20 + 100_000}
	switch p.fault {
	case "", "reopens":
		c.Reopen = func(s store.Store) (store.Store, error) { return s, nil }
	case "reopens empty":
		c.Reopen = func(store.Store) (store.Store, error) { return newPlain(""), nil }
	}
	return c
}

func TestFindsFaults(t *testing.T) {
	for fault, want := range map[string]string{
		"":                                 "",
		"ignores case":                     "whole keys",
		"cuts keys":                        "whole keys",
		"oldest first":                     "variants",
		"visible before Commit":            "unseen before Commit",
		"updates the entry in place":       "Update",
		"update loses the body":            "Update",
		"update makes another response":    "Commit takes the place of old",
		"update brings back what is gone":  "Update",
		"gone is an error":                 "Update",
		"removes all variants":             "Remove",
		"walk leaves some out":             "Walk",
		"walk does not stop":               "f returned false",
		"close fails":                      "close failed",
		"wrong size":                       "Size is",
		"big bodies are cut":               "big bodies",
		"closed bodies are handed on":      "closed bodies",
		"removing cuts readers":            "open bodies stay readable",
		"keeps the caller's buffer":        "one response",
		"loses the tags":                   "Tags of the metadata",
		"drops huge headers":               "huge header",
		"commits what was aborted":         "Commit after Abort",
		"removes the old first":            "Commit leaves no gap",
		"replaces all":                     "variants",
		"keeps the old":                    "Commit takes the place of old",
		"abort removes what was committed": "one response",
		"abort cuts readers":               "Reader outlives the writer",
		"readers see a copy":               "Reader while it is written",
		"readers see zeros":                "Reader while it is written",
		"reopens empty":                    "reopen",
	} {
		if raceDetector && fault != "" && fault != "removes the old first" {
			continue // there is no more to detect
		}
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			claims := newPlain(fault).claims()
			err := cachetest.TestStore(func() (store.Store, error) { return newPlain(fault), nil }, claims)
			if want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestMakeFails(t *testing.T) {
	err := cachetest.TestStore(func() (store.Store, error) { return nil, errors.New("no store") }, cachetest.Claims{})
	require.ErrorContains(t, err, "no store")
}
