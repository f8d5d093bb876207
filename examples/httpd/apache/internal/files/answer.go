package files

import (
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// ETag says what an entity tag is made of: the FileETag directive.
type ETag uint8

const (
	TagINode ETag = 1 << iota
	TagMTime
	TagSize
	TagDefault = TagMTime | TagSize
)

// Of returns the tag of a file; it is weak if the file has changed just now, for
// it may change again and keep its time. It is "" if it is made of nothing.
func (t ETag) Of(info fs.FileInfo, now time.Time) string {
	var parts []string
	add := func(n uint64) { parts = append(parts, strconv.FormatUint(n, 16)) }
	if t&TagINode != 0 {
		add(inode(info))
	}
	if t&TagSize != 0 {
		add(uint64(info.Size()))
	}
	if t&TagMTime != 0 {
		add(uint64(info.ModTime().UnixMicro()))
	}
	if len(parts) == 0 {
		return ""
	}
	tag := `"` + strings.Join(parts, "-") + `"`
	if now.Sub(info.ModTime()) <= time.Second {
		return "W/" + tag
	}
	return tag
}

// Answer is a file as an answer.
type Answer struct {
	Found
	Meta
	ETag string // "" for none
}

// Serve answers with the file: all of it, ranges, or 304. An answer that is an
// error is not written: its status is returned, with the fields that it needs
// set, and zero otherwise.
func (a *Answer) Serve(w http.ResponseWriter, r *http.Request, f *os.File) int {
	h := w.Header()
	h["Content-Type"] = nil // nothing is guessed
	if a.Type != "" {
		h["Content-Type"] = []string{a.Type}
	}
	if len(a.Languages) > 0 {
		h.Set("Content-Language", strings.Join(a.Languages, ","))
	}
	if a.ETag != "" {
		h.Set("ETag", a.ETag)
	}
	if unit := r.Header.Get("Range"); unit != "" && !strings.HasPrefix(unit, "bytes=") { // net/http would not ignore it
		again := *r
		again.Header = r.Header.Clone()
		again.Header.Del("Range")
		r = &again
	}
	if r.Method == http.MethodPost { // as in httpd, the file it is; but ranges and conditions are those of GET
		again := *r
		again.Method, r = http.MethodGet, &again
	}
	out := &answerWriter{ResponseWriter: w, encoding: strings.Join(a.Encodings, ", "), modified: a.Info.ModTime()}
	http.ServeContent(out, r, "", a.Info.ModTime(), f)
	if out.failed != 0 {
		for _, name := range []string{"Content-Type", "Content-Language", "Content-Length", "Etag", "Last-Modified"} {
			delete(h, name)
		}
	}
	return out.failed
}

// answerWriter keeps errors back, and adds what net/http leaves out.
type answerWriter struct {
	http.ResponseWriter
	encoding string
	modified time.Time
	failed   int
}

func (w *answerWriter) WriteHeader(code int) {
	h := w.Header()
	switch {
	case code >= 400:
		w.failed = code
		return
	case code == http.StatusNotModified:
		h.Set("Last-Modified", w.modified.UTC().Format(http.TimeFormat))
		h.Set("Accept-Ranges", "bytes")
	case w.encoding != "": // only now, for net/http gives no length with it
		h.Set("Content-Encoding", w.encoding)
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *answerWriter) Write(b []byte) (int, error) {
	if w.failed != 0 {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// ReadFrom lets the system copy the file by itself.
func (w *answerWriter) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := w.ResponseWriter.(io.ReaderFrom); ok && w.failed == 0 {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{w}, r)
}

func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
