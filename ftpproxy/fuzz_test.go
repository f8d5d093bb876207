package ftpproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// FuzzTarget reads any path: what is not refused has neither control bytes nor
// dot segments, and says the same when it is written anew.
func FuzzTarget(f *testing.F) {
	for _, p := range []string{"/", "", "/a/b.txt", "/%2Fetc/passwd", "/%2F", "//a//b/", "/a%0d%0ab", "/a;type=i", "/a/b;TYPE=D", "/;type=a", "/a%2fb", "/..", "/%2e%2e/x", "/%", "/ü ñ", "/a;b;type=a", "/%2F%2F", "/a\x00"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.Parse("ftp://server.test" + path)
		if err != nil || u.Host != "server.test" {
			return
		}
		at, perr := parseTarget(u)
		if perr != nil {
			require.Contains(t, []int{400, 414}, perr.Status)
			return
		}
		for _, name := range []string{at.file(), at.path(), at.dir, at.name} {
			require.False(t, hasControl(name), "%q", name)
			require.LessOrEqual(t, len(name), maxPathBytes+1)
			for segment := range strings.SplitSeq(name, "/") {
				require.NotContains(t, []string{".", ".."}, segment)
			}
		}
		again := "/"
		for i, segment := range strings.Split(strings.TrimPrefix(at.path(), "/"), "/") {
			if i > 0 {
				again += "/"
			}
			again += url.PathEscape(segment)
		}
		if strings.HasPrefix(at.path(), "/") {
			again = "/%2F" + again[1:]
		}
		if at.name == "" && !strings.HasSuffix(again, "/") {
			again += "/"
		}
		anew, perr := parseTarget(mustURL(t, "ftp://server.test"+again))
		require.Nil(t, perr, "%q", again)
		require.Equal(t, at.dir, anew.dir)
		require.Equal(t, at.name, anew.name)
	})
}

// FuzzListing renders any lines in both forms: the page has no element but its
// own, JSON is JSON, and both have the same entries.
func FuzzListing(f *testing.F) {
	for _, s := range []string{
		"-rw-r--r--   1 owner group   1234 Jan  2  2024 a <b> & c.txt",
		"drwxr-xr-x.  2 root  root    4096 Jan  2 12:34 dir\nlrwxrwxrwx 1 u g 3 Jan 2 2024 l -> t",
		"01-02-24  03:04PM       <DIR>          some dir\n01-02-24  03:04PM  77 file.txt",
		"type=dir;modify=20240102030405; d\ntype=file;size=12; f\ntype=OS.unix=slink:/x; l",
		"total 12\n\n-r--------   0 user group     65222236 Feb 24 00:39 h.csv",
		"type=file;size=99999999999999999999; \"><script>alert(1)</script>",
		"drwxr-xr-x folder 0 Jan 2 2024 x\n----------   1 a b 0x10 Jan 2 2024 ../../etc",
		"-rw-r--r-- 1 u g 1 Jan 2 2024 \x1b[1m\xff\xfe",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, text []byte, mlsd bool) {
		parser, err := newLineParser(nil)
		require.NoError(t, err)
		l := &lister{mlsd: mlsd, parser: parser}
		for line := range strings.SplitSeq(string(text), "\n") {
			if line = strings.TrimRight(line, "\r"); line != "" && len(line) < maxLineBytes {
				l.lines = append(l.lines, line)
			}
		}
		require.NoError(t, l.parse())
		require.LessOrEqual(t, len(l.entries), len(l.lines))

		var asHTML, asJSON bytes.Buffer
		where := place{path: "/", links: "./", charset: "UTF-8"}
		for _, p := range []struct {
			page
			to *bytes.Buffer
		}{{&htmlPage{where}, &asHTML}, {&jsonPage{place: where}, &asJSON}} {
			p.begin(p.to)
			p.rows(p.to, l.entries)
			p.end(p.to)
		}
		requireOwnElements(t, asHTML.Bytes(), len(l.entries))
		var parsed jsonListing
		require.NoError(t, json.Unmarshal(asJSON.Bytes(), &parsed), "%s", asJSON.Bytes())
		require.Len(t, parsed.Entries, len(l.entries))
		for _, e := range parsed.Entries {
			if e.Href == "" {
				continue
			}
			u := mustURL(t, "ftp://server.test/x/").ResolveReference(mustURL(t, e.Href))
			require.Equal(t, "server.test", u.Host)
			_, perr := parseTarget(u)
			require.Nil(t, perr, "a link that we would refuse: %q", e.Href)
			require.True(t, strings.HasPrefix(u.Path, "/x/"), "%q", e.Href)
		}
	})
}

// requireOwnElements reads a page as browsers do.
func requireOwnElements(t *testing.T, page []byte, rows int) {
	t.Helper()
	z := html.NewTokenizer(bytes.NewReader(page))
	got := -1 // the head
	for {
		switch z.Next() {
		case html.ErrorToken:
			require.ErrorIs(t, z.Err(), io.EOF)
			require.Equal(t, rows, got)
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			require.Contains(t, "html head meta title style body h1 table tr td th a", token.Data)
			if token.Data == "tr" {
				got++
			}
			for _, a := range token.Attr {
				require.Contains(t, "href class charset", a.Key)
				if a.Key == "href" {
					require.True(t, strings.HasPrefix(a.Val, "./"), "%q", a.Val)
				}
			}
		case html.CommentToken:
			t.Fatalf("a comment in %s", page)
		}
	}
}

// FuzzConversation is a server that says anything: the request ends, and leaves
// nothing behind.
func FuzzConversation(f *testing.F) {
	const login = "220 hello\x1e331 password\x1e230 in\x1e211-features\r\n MDTM\r\n211 end\x1e200 type\x1e"
	f.Add([]byte(login+"213 4\x1e213 20240102030405\x1e229 (|||7|)\x1e150 coming\r\n226 done"), []byte("data"), "/f")
	f.Add([]byte(login+"257 \"/\"\x1e250 there\x1e229 (|||7|)\x1e150 coming\r\n226 done"), []byte("-rw-r--r-- 1 u g 1 Jan 2 2024 x\r\n"), "/d/")
	f.Add([]byte(login+"550 no\x1e257 \"/\"\x1e250 there"), []byte(""), "/d")
	f.Add([]byte(login+"500 no\x1e500 no\x1e500 no\x1e227 (1,2,3,4,0,7)\x1e150 coming\r\n226 done"), []byte("data"), "/f")
	f.Add([]byte("220-a\r\n220-b\r\n220 c\x1e530 no"), []byte(""), "/")
	f.Add([]byte(login+"257 \""), []byte(""), "/d/")
	f.Fuzz(func(t *testing.T, control, data []byte, path string) {
		u, err := url.Parse("ftp://server.test" + path)
		if err != nil || u.Host != "server.test" {
			return
		}
		first := true
		b := &backend.Backend{URL: &url.URL{Scheme: "ftp", Host: "server.test"}, DialContext: func(context.Context, string, string) (net.Conn, error) {
			if first {
				first = false
				return newSaying(bytes.Split(control, []byte{0x1e})), nil
			}
			return newSaying([][]byte{data}), nil
		}}
		defer b.Close()
		rt := &Transport{Backend: b}
		resp, err := rt.RoundTrip(&http.Request{Method: "GET", URL: u, Header: http.Header{}})
		if err == nil {
			var text []byte
			if text, err = io.ReadAll(resp.Body); err == nil && resp.ContentLength >= 0 {
				require.Len(t, text, int(resp.ContentLength))
			}
			require.NoError(t, resp.Body.Close())
		}
		if err != nil {
			var e *exchange.Error
			require.True(t, errors.As(err, &e), "%v", err)
			require.GreaterOrEqual(t, exchange.StatusOf(err), 400)
		}
		require.EqualValues(t, 0, b.Stats().Busy)
	})
}

// saying is a connection whose other end says the next of its texts after each
// write, and then leaves.
type saying struct {
	net.Conn // no method of it is called
	texts    [][]byte
	now      bytes.Reader
}

func newSaying(texts [][]byte) *saying {
	s := &saying{texts: texts}
	_, _ = s.Write(nil)
	return s
}

func (s *saying) Read(p []byte) (int, error) { return s.now.Read(p) }

func (s *saying) Write(p []byte) (int, error) {
	if len(s.texts) > 0 {
		s.now.Reset(append(s.texts[0], "\r\n"...))
		s.texts = s.texts[1:]
	}
	return len(p), nil
}

func (s *saying) Close() error                     { return nil }
func (s *saying) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *saying) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *saying) SetDeadline(time.Time) error      { return nil }
func (s *saying) SetReadDeadline(time.Time) error  { return nil }
func (s *saying) SetWriteDeadline(time.Time) error { return nil }

// FuzzRange: whatever is asked for lies in the file.
func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-4", "bytes=-5", "bytes=3-", "bytes=9999999999999999999-", "bytes=0-0,2-3", "bytes= 1-2", "bytes=--1", "octets=1-2", "bytes=5-2"} {
		f.Add(s, int64(10))
		f.Add(s, int64(0))
	}
	f.Fuzz(func(t *testing.T, text string, size int64) {
		if size < 0 {
			return
		}
		r := &http.Request{Header: http.Header{"Range": {text}}}
		got, ok := rangeOf(r, info{size: size})
		if !ok {
			return
		}
		require.GreaterOrEqual(t, got.from, int64(0))
		require.GreaterOrEqual(t, got.length, int64(0))
		require.LessOrEqual(t, got.from, size-got.length)
		require.True(t, !got.part || got.length > 0)
	})
}
