package fcgi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/modproxy/modproxy/fcgi/internal/cgi"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// script is what is run for a request, and what in the request names it.
type script struct {
	filename string // where the application finds it
	name     string // its path as the client knows it
	info     string // what follows it in the client's path
	root     string // the document root; empty if there is none
}

type scriptKey struct{}

// withScript tells a transport what to run, whatever the request's URL says.
func withScript(ctx context.Context, s *script) context.Context {
	return context.WithValue(ctx, scriptKey{}, s)
}

// script finds out what r is about. Its URL's path is that of the script, with
// what follows it.
func (t *Transport) script(r *http.Request, client *http.Request) (script, error) {
	if s, ok := r.Context().Value(scriptKey{}).(*script); ok {
		return *s, nil
	}
	filename, info := splitScript(r.URL.Path, t.splitPath())
	if err := checkPath(r.URL, filename); err != nil {
		return script{}, err
	}
	s := script{filename: filename, info: info, root: strings.TrimSuffix(t.Root, "/")}
	switch {
	case s.root != "" && strings.HasPrefix(filename, s.root+"/"):
		s.name = filename[len(s.root):]
	case client != nil:
		s.name = clientScript(client.URL.Path, info, filename)
	default:
		s.name = filename
	}
	if s.root == "" && s.name != filename && strings.HasSuffix(filename, s.name) {
		s.root = filename[:len(filename)-len(s.name)]
	}
	return s, nil
}

// clientScript is the client's path without what follows the script in it. A
// path that does not name the script at all, since it was rewritten, says
// nothing of its place.
func clientScript(p, info, filename string) string {
	p = cgi.CleanPath(p)
	if name, ok := strings.CutSuffix(p, info); ok && name != "" && path.Base(name) == path.Base(filename) {
		return name
	}
	return "/" + path.Base(filename)
}

// splitScript divides a path behind the first segment that ends in one of the
// suffixes. Letters of both cases are alike, as they may be to a file system.
func splitScript(p string, suffixes []string) (filename, info string) {
	for i := 1; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		if isScript(p[:i], suffixes) {
			return p[:i], p[i:]
		}
	}
	return p, ""
}

// isScript reports whether a path ends in one of the suffixes.
func isScript(p string, suffixes []string) bool {
	for _, suffix := range suffixes {
		if n := len(p) - len(suffix); suffix != "" && n > 0 && strings.EqualFold(p[n:], suffix) && p[n-1] != '/' {
			return true
		}
	}
	return false
}

// checkPath refuses a path that would name another file than it seems to. The
// begin of it is the script's.
func checkPath(u *url.URL, filename string) error {
	if err := cgi.CheckPath(u.Path); err != nil {
		return err
	}
	if u.RawPath != "" && escapesSlash(u.RawPath, len(filename)) {
		return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusNotFound, Err: errors.New("path of the script has an encoded slash")}
	}
	return nil
}

// escapesSlash reports whether one of the first n bytes that raw decodes to is
// an escaped slash.
func escapesSlash(raw string, n int) bool {
	for i := 0; i < len(raw) && n > 0; n-- {
		if raw[i] != '%' {
			i++
			continue
		}
		if i+3 <= len(raw) && strings.EqualFold(raw[i:i+3], "%2f") {
			return true
		}
		i += 3
	}
	return false
}
