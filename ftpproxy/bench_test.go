package ftpproxy

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkGet gets a file by a server in this process. What the server takes
// is in the figures.
func BenchmarkGet(b *testing.B) {
	for name, size := range map[string]int{"1KB": 1 << 10, "1MB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			s := startScripted(b)
			s.file = strings.Repeat("x", size)
			rt := s.transport(patience)
			r, err := http.NewRequest("GET", "ftp://server.test/f", nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				resp, err := rt.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					b.Fatal(err)
				}
				_ = resp.Body.Close()
			}
		})
	}
}

// BenchmarkListing parses and renders a batch of lines in each form.
func BenchmarkListing(b *testing.B) {
	for name, line := range map[string]string{
		"LIST": "-rw-r--r--   1 owner group   1234 Jan  2  2024 some file.txt",
		"MLSD": "type=file;size=1234;modify=20240102030405; some file.txt",
	} {
		b.Run(name, func(b *testing.B) {
			parser, err := newLineParser(nil)
			if err != nil {
				b.Fatal(err)
			}
			l := &lister{mlsd: name == "MLSD", parser: parser}
			for range batchLines {
				l.lines = append(l.lines, line)
			}
			page := &htmlPage{place{path: "/", links: "./", charset: "UTF-8"}}
			b.ReportAllocs()
			for b.Loop() {
				var text bytes.Buffer
				if err := l.parse(); err != nil {
					b.Fatal(err)
				}
				page.rows(&text, l.entries)
			}
		})
	}
}
