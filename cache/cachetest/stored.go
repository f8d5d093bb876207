package cachetest

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/modproxy/modproxy/cache/store"
)

// Checks of what is stored.

// sizes are body lengths at which stores may change their ways.
var sizes = []int{0, 1, 1023, 1 << 10, 4 << 10, 32<<10 - 1, 32 << 10, 32<<10 + 1, 64 << 10, 256 << 10, 256<<10 + 1, 1 << 20}

func emptyStore(k *kit) {
	k.get("http://example.org/", 0)
	k.get("", 0)
	k.wantWalked()
}

func oneResponse(k *kit) {
	for i, n := range sizes {
		key := fmt.Sprintf("http://example.org/%d", n)
		k.put(key, uint64(i), n)
		for range 3 {
			k.right(k.get(key, 1)[0])
		}
	}
	// The later ones did the earlier no harm.
	for _, n := range sizes {
		k.right(k.get(fmt.Sprintf("http://example.org/%d", n), 1)[0])
	}
}

func metadata(k *kit) {
	ttl, none := 90*time.Second, time.Duration(0)
	seed := []string{"1"}
	for i, m := range []*store.Meta{
		{Header: http.Header{seedField: seed}},
		{Status: 206, Header: http.Header{seedField: seed}, Length: 1000, Parts: []store.Part{{Start: 10, End: 20}, {Start: 30, End: 1000}}},
		{Status: 200, Header: http.Header{seedField: seed}, Length: -1, Trailer: http.Header{"Digest": {"a", "b"}}},
		{Status: 200, Header: http.Header{seedField: seed, "X": {"", "b", "\x00\xff\r\n"}, "lower": {"case"}}},
		{Status: 200, Header: http.Header{seedField: seed}, Vary: http.Header{"Accept": {"a, b", "c"}, "Cookie": nil, "X-Empty": {""}}},
		{Status: 200, Header: http.Header{seedField: seed}, Tags: []string{"one", "two", "ü"}, Invalid: true},
		{Status: 200, Header: http.Header{seedField: seed}, TTL: &ttl},
		{Status: 200, Header: http.Header{seedField: seed}, TTL: &none},
		{Status: 200, Header: http.Header{seedField: seed}, RequestTime: time.Unix(1, 999_999_999), ResponseTime: time.Now()},
	} {
		m.Key = fmt.Sprintf("http://example.org/%d", i)
		want := m.Clone()
		// Create need not know yet what Commit tells.
		first := &store.Meta{Key: m.Key, Status: 200, Length: -1}
		w, err := k.store.Create(k.ctx, first)
		k.must(err, "Create")
		k.must(w.Commit(m), "Commit")
		k.sameMeta(k.get(m.Key, 1)[0].Meta(), want)
	}
}

func (k *kit) sameMeta(got, want *store.Meta) {
	values := func(a, b []string) bool { return slices.Equal(a, b) }
	for _, field := range []struct {
		name      string
		same      bool
		got, want any
	}{
		{"Key", got.Key == want.Key, got.Key, want.Key},
		{"Status", got.Status == want.Status, got.Status, want.Status},
		{"Header", maps.EqualFunc(got.Header, want.Header, values), got.Header, want.Header},
		{"Trailer", maps.EqualFunc(got.Trailer, want.Trailer, values), got.Trailer, want.Trailer},
		{"Vary", maps.EqualFunc(got.Vary, want.Vary, values), got.Vary, want.Vary},
		{"RequestTime", got.RequestTime.Equal(want.RequestTime), got.RequestTime, want.RequestTime},
		{"ResponseTime", got.ResponseTime.Equal(want.ResponseTime), got.ResponseTime, want.ResponseTime},
		{"Length", got.Length == want.Length, got.Length, want.Length},
		{"Parts", slices.Equal(got.Parts, want.Parts), got.Parts, want.Parts},
		{"TTL", (got.TTL == nil) == (want.TTL == nil) && (got.TTL == nil || *got.TTL == *want.TTL), got.TTL, want.TTL},
		{"Tags", slices.Equal(got.Tags, want.Tags), got.Tags, want.Tags},
		{"Invalid", got.Invalid == want.Invalid, got.Invalid, want.Invalid},
	} {
		if !field.same {
			k.fail("%s of the metadata is not what was stored:\ngot  %.300s\nwant %.300s",
				field.name, fmt.Sprint(field.got), fmt.Sprint(field.want))
		}
	}
}

func hugeHeader(k *kit) {
	const key = "http://example.org/"
	meta := newMeta(key, 1, 10)
	for i := range 1000 {
		meta.Header.Add("Set-Cookie", fmt.Sprintf("n%d=%s", i, strings.Repeat("v", 2000)))
		meta.Header.Set(fmt.Sprintf("X-%d", i), "1")
	}
	want := meta.Clone()
	k.putMeta(meta, 1, 10)
	for range 2 {
		e := k.get(key, 1)[0]
		k.sameMeta(e.Meta(), want)
		k.right(e)
	}
}

// wholeKeys uses keys that are easily taken for each other.
func wholeKeys(k *kit) {
	long := strings.Repeat("a", 70_000)
	keys := []string{
		"http://example.org/", "http://example.org", "http://example.org//", "http://example.org/?",
		"http://example.org/a", "http://example.org/A", "http://example.org/%61", "https://example.org/a",
		"http://example.org/a ", " http://example.org/a", "http://example.org/a\x00", "http://example.org/a\x00b",
		"http://example.org/../../../../etc/passwd", "../../x", "/", ".", "..", "\xff\xfe", "ü", "u\u0308",
		"http://example.org/" + long, "http://example.org/" + long + "b", "http://example.org/" + long + "c",
	}
	for i := range 200 {
		keys = append(keys, fmt.Sprintf("http://example.org/?n=%d", i))
	}
	for i, key := range keys {
		k.put(key, uint64(i), 100)
	}
	for i, key := range keys {
		k.seeds(key, uint64(i))
		k.right(k.get(key, 1)[0])
	}
	k.get("http://example.org/?n=200", 0)
	k.get("http://example.org/"+long[1:], 0)
	for i, key := range keys {
		if i%2 == 0 {
			k.must(k.store.Remove(k.ctx, k.get(key, 1)[0]), "Remove")
		}
	}
	for i, key := range keys {
		k.get(key, i%2)
	}
}

func variants(k *kit) {
	const key = "http://example.org/"
	for seed := range uint64(20) {
		meta := newMeta(key, seed, int(seed)*1000)
		meta.Vary = http.Header{"Accept-Language": {fmt.Sprint(seed)}}
		k.putMeta(meta, seed, int(seed)*1000)
	}
	k.put("http://example.org/other", 100, 10)
	entries := k.get(key, 20)
	for i, e := range entries {
		if want := uint64(19 - i); k.seedOf(e) != want {
			k.fail("the newest come first: at %d seed %d, want %d", i, k.seedOf(e), want)
		}
		if got := e.Meta().Vary.Get("Accept-Language"); got != fmt.Sprint(19-i) {
			k.fail("Vary of a variant: %q, want %d", got, 19-i)
		}
		k.right(e)
	}
	k.must(k.store.Remove(k.ctx, entries[0]), "Remove")
	k.must(k.store.Remove(k.ctx, entries[10]), "Remove")
	k.must(k.store.Remove(k.ctx, entries[19]), "Remove")
	left := slices.Concat(entries[1:10], entries[11:19])
	for i, e := range k.get(key, len(left)) {
		if k.seedOf(e) != k.seedOf(left[i]) {
			k.fail("after Remove of some: at %d seed %d, want %d", i, k.seedOf(e), k.seedOf(left[i]))
		}
		k.right(e)
	}
	k.right(k.get("http://example.org/other", 1)[0])
}

func bigBodies(k *kit) {
	const key = "http://example.org/big"
	k.put(key, 1, k.claims.BigBody)
	e := k.get(key, 1)[0]
	for range 2 {
		k.right(e)
	}
	// Two readers have places of their own.
	a, err := e.Open()
	k.must(err, "Open")
	defer a.Close()
	b, err := e.Open()
	k.must(err, "Open")
	defer b.Close()
	want := k.content(1, k.claims.BigBody)
	half := make([]byte, len(want)/2)
	_, err = io.ReadFull(a, half)
	k.must(err, "reading half")
	k.equal("half of the body", half, want[:len(half)])
	k.rightBody(e, b)
	rest, err := io.ReadAll(a)
	k.must(err, "reading the other half")
	k.equal("the other half", rest, want[len(half):])
}

func seek(k *kit) {
	for i, n := range append([]int{k.claims.BigBody}, sizes...) {
		key := fmt.Sprintf("http://example.org/%d", i)
		k.put(key, uint64(i), n)
		want := k.content(uint64(i), n)
		b, err := k.get(key, 1)[0].Open()
		k.must(err, "Open")
		for _, at := range []int{n / 2, 0, n, n - 1, n / 3, n + 10} {
			if at < 0 {
				continue
			}
			for _, whence := range []struct {
				whence int
				offset int64
			}{{io.SeekStart, int64(at)}, {io.SeekEnd, int64(at - n)}} {
				got, err := b.Seek(whence.offset, whence.whence)
				k.must(err, "Seek %d of %d", at, n)
				if got != int64(at) {
					k.fail("Seek returned %d, want %d", got, at)
				}
				p := make([]byte, 1000)
				m, err := io.ReadFull(b, p)
				if err != io.EOF && err != io.ErrUnexpectedEOF {
					k.must(err, "reading at %d of %d", at, n)
				}
				k.equal(fmt.Sprintf("bytes at %d of %d", at, n), p[:m], want[min(at, n):min(at+1000, n)])
				here, err := b.Seek(0, io.SeekCurrent)
				k.must(err, "Seek")
				if here != int64(at+m) {
					k.fail("after reading %d bytes at %d the place is %d", m, at, here)
				}
			}
		}
		if _, err := b.Seek(-1, io.SeekStart); err == nil {
			k.fail("Seek to -1 is no error")
		}
		k.must(b.Close(), "Close of a body")
	}
}
