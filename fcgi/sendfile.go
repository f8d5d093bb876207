package fcgi

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
)

// SendFile is an http.RoundTripper that answers with a file when a script asks
// for it: by X-Accel-Redirect, with a path as in nginx, or by X-Sendfile, with
// the name of the file. Conditions and a range of the request are met.
// Elsewhere those fields are passed on like any other.
type SendFile struct {
	// Transport runs the scripts. If nil, a [Transport] with default fields.
	Transport http.RoundTripper

	// Dirs maps prefixes of the paths in X-Accel-Redirect to directories, as in
	// {"/protected/": "/srv/files"}; the longest that fits counts. A file in
	// X-Sendfile must be in one of the directories. No symbolic link leads out
	// of them.
	Dirs map[string]string

	own Transport
}

// RoundTrip sends a request, and puts the file into the answer if it asks for
// one. A file that is not there is 404, one that may not be sent 502.
func (s *SendFile) RoundTrip(r *http.Request) (*http.Response, error) {
	t := s.Transport
	if t == nil {
		t = &s.own
	}
	resp, err := t.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	accel, sendfile := resp.Header["X-Accel-Redirect"], resp.Header["X-Sendfile"]
	if accel == nil && sendfile == nil {
		return resp, nil
	}
	_ = resp.Body.Close()
	delete(resp.Header, "X-Accel-Redirect")
	delete(resp.Header, "X-Sendfile")
	delete(resp.Header, "Content-Length")
	dir, name, ok := s.locate(accel, sendfile)
	if !ok {
		return plain(resp, http.StatusBadGateway), nil
	}
	f, err := openIn(dir, name)
	if err != nil {
		return plain(resp, http.StatusNotFound), nil
	}
	return answerWith(resp, r, f), nil
}

// locate returns the directory and the name in it that the fields mean.
func (s *SendFile) locate(accel, sendfile []string) (dir, name string, ok bool) {
	longest := -1
	if accel != nil {
		u, err := url.Parse(accel[0])
		if err != nil {
			return "", "", false
		}
		p := path.Clean("/" + u.Path)
		for prefix, d := range s.Dirs {
			prefix = strings.TrimSuffix(prefix, "/") + "/"
			if strings.HasPrefix(p, prefix) && len(prefix) > longest {
				dir, name, longest = d, p[len(prefix):], len(prefix)
			}
		}
		return dir, name, longest >= 0
	}
	p := path.Clean(sendfile[0])
	for _, d := range s.Dirs {
		under := strings.TrimSuffix(path.Clean(d), "/") + "/"
		if strings.HasPrefix(p, under) && len(under) > longest {
			dir, name, longest = d, p[len(under):], len(under)
		}
	}
	return dir, name, longest >= 0
}

func openIn(dir, name string) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// To open something else may take for ever, as a FIFO does.
	if st, err := root.Stat(name); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	return root.Open(name)
}

// plain makes resp an answer of a status and nothing else.
func plain(resp *http.Response, status int) *http.Response {
	resp.Header = make(http.Header)
	resp.StatusCode, resp.Status = status, http.StatusText(status)
	resp.Body, resp.ContentLength = http.NoBody, 0
	return resp
}

// answerWith puts the file into the answer: net/http says how to answer a HEAD,
// and the body is what that would be for.
func answerWith(resp *http.Response, r *http.Request, f *os.File) *http.Response {
	ask := r.Clone(r.Context())
	ask.Method = http.MethodHead
	if resp.StatusCode != http.StatusOK {
		ask.Header = nil // conditions and ranges are for what was asked for, not for a page about an error
	}
	if strings.Contains(ask.Header.Get("Range"), ",") {
		delete(ask.Header, "Range") // several ranges would need a body of their own
	}
	rec := &headRecorder{header: resp.Header, status: http.StatusOK}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return plain(resp, http.StatusNotFound)
	}
	if ct := rec.header["Content-Type"]; len(ct) > 0 && strings.HasPrefix(ct[0], "text/html") {
		delete(rec.header, "Content-Type") // PHP's default says nothing of the file
	}
	http.ServeContent(rec, ask, st.Name(), st.ModTime(), f)
	if resp.StatusCode == http.StatusOK {
		resp.StatusCode, resp.Status = rec.status, http.StatusText(rec.status)
	}
	resp.ContentLength = 0
	resp.Body = http.NoBody
	offset, length, ok := extent(rec, st.Size())
	if !ok || r.Method == http.MethodHead {
		_ = f.Close()
		return resp
	}
	resp.ContentLength = length
	resp.Body = &fileBody{Reader: io.NewSectionReader(f, offset, length), Closer: f}
	return resp
}

// headRecorder takes the head of an answer.
type headRecorder struct {
	header http.Header
	status int
}

func (h *headRecorder) Header() http.Header { return h.header }

func (h *headRecorder) WriteHeader(status int) { h.status = status }

func (h *headRecorder) Write(b []byte) (int, error) { return len(b), nil }

// fileBody reads a part of a file.
type fileBody struct {
	io.Reader
	io.Closer
}

// extent returns which part of a file of that size an answer has.
func extent(rec *headRecorder, size int64) (offset, length int64, ok bool) {
	switch rec.status {
	case http.StatusOK:
		return 0, size, true
	case http.StatusPartialContent:
		var first, last, total int64
		if n, _ := fmt.Sscanf(rec.header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); n == 3 {
			return first, last - first + 1, true
		}
	}
	return 0, 0, false
}
