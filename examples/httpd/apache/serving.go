package apache

import (
	"cmp"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/files"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/plainfile"
)

// allowedForFiles are the methods that files answer.
const allowedForFiles = "HEAD,GET,POST,OPTIONS"

// leadsElsewhere does what mod_dir does: a folder without its slash is redirected,
// one with it is answered by its index, and what is not there by the
// FallbackResource. True means that the request has been answered.
func (h *host) leadsElsewhere(w http.ResponseWriter, r *http.Request, s *served) bool {
	v := visitOf(r)
	if v.found.rule != nil || v.found.file == "" {
		return false
	}
	disk := &v.found.disk
	if !disk.IsDir() {
		if h.negotiated(w, r, s) {
			return true
		}
		to := said(s.files.fallback, "")
		return disk.Info == nil && to != "" && v.handler == "" && h.leadsTo(w, r, to, 0)
	}
	if !strings.HasSuffix(v.path, "/") {
		return h.slashes(w, r, s)
	}
	if v.handler != "" && said(s.files.checkHandler, false) {
		return false
	}
	index := s.files.index
	if index == nil {
		index = []string{"index.html"}
	}
	for _, name := range index {
		if !strings.HasPrefix(name, "/") {
			name = v.path + name
		}
		if h.leadsTo(w, r, name, said(s.files.indexRedirect, 0)) {
			return true
		}
	}
	return false
}

// slashes redirects a client that has asked for a folder without its slash. Rules of
// sections do not come before it, as in httpd.
func (h *host) slashes(w http.ResponseWriter, r *http.Request, s *served) bool {
	v := visitOf(r)
	if !v.found.disk.IsDir() || strings.HasSuffix(v.path, "/") || !said(s.files.slash, true) {
		return false
	}
	h.moved(w, r, s, http.StatusMovedPermanently, v.path+"/", r.URL.RawQuery)
	return true
}

// leadsTo answers as for another path, if that leads to a file or a backend: as
// httpd's fast redirect does, with the variables as they are. A code leads the
// client there.
func (h *host) leadsTo(w http.ResponseWriter, r *http.Request, to string, code int) bool {
	v := visitOf(r)
	before := *v
	to, query, _ := strings.Cut(to, "?")
	at := cleanPath(to)
	in := *r
	in.URL = &url.URL{Path: at, RawQuery: cmp.Or(r.URL.RawQuery, query)}
	v.path = at
	v.subrequests++ // as for rules that do not count there
	out, failed := h.translate(&in)
	v.subrequests--
	var sections sectionList
	if failed == 0 {
		sections, failed = h.sectionsOf(v, out)
	}
	if failed != 0 && failed != http.StatusNotFound {
		h.fail(w, r, before.served, failed)
		return true
	}
	if v.found.rule == nil && !v.found.disk.IsFile() || v.redirects >= maxInternalRedirects {
		*v = before
		return false
	}
	if code != 0 {
		found := v.path
		*v = before
		h.moved(w, r, v.served, code, found, "") // as in httpd, without the query
		return true
	}
	v.redirects++
	h.serveFound(w, out, sections)
	return true
}

// moved redirects the client to another path of this server.
func (h *host) moved(w http.ResponseWriter, r *http.Request, s *served, code int, to, query string) {
	v := visitOf(r)
	host := strings.ToLower(r.Host)
	if v.host.canonical != nil && (said(s.canonicalName, false) || host == "") {
		host = v.host.canonical.Host
	}
	u := url.URL{Scheme: "http", Host: host, Path: to, RawQuery: query}
	if h.schemeOf(r) == "https" {
		u.Scheme = "https"
	}
	w.Header().Set("Location", u.String())
	s.files.expires.apply(w.Header(), "", code, modTime(v.found.disk))
	h.sentence(w, r, s, code)
}

func modTime(f files.Found) time.Time {
	if f.Info == nil {
		return time.Time{}
	}
	return f.Info.ModTime()
}

// serveDisk answers with what is on disk, as httpd's default handler and
// mod_autoindex do.
func (h *host) serveDisk(w http.ResponseWriter, r *http.Request, s *served) {
	v := visitOf(r)
	disk := v.found.disk
	meta := s.metaOf(path.Base(disk.Name), h.opt.types)
	meta.Type = cmp.Or(v.rewrites.kind, meta.Type)
	if h.acts(w, r, s, meta) {
		return
	}
	if disk.Info != nil && (!s.isForFiles(v.handler) || v.found.scripts) {
		h.logger.Error("file is for a handler that is not known, and not served", "path", v.path, "file", disk.Name, "handler", v.handler)
		h.fail(w, r, s, http.StatusForbidden)
		return
	}
	get := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case r.Method == http.MethodOptions:
		addVary(w.Header(), v.vary)
		w = s.dressed(w, meta.Type, modTime(disk))
		if meta.Type != "" && !disk.IsDir() {
			w.Header().Set("Content-Type", meta.Type)
		}
		w.Header().Set("Allow", allowedForFiles)
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
	case !get && r.Method != http.MethodPost:
		w.Header().Set("Allow", allowedForFiles)
		h.fail(w, r, s, unknownMethod(r.Method))
	case disk.IsDir() && get && v.handler == "":
		h.serveFolder(w, r, s)
	case !disk.IsFile(), disk.Extra != "" && said(s.files.pathInfo, pathInfoDefault) != pathInfoAccepted:
		h.fail(w, r, s, http.StatusNotFound)
	default:
		f, err := disk.Open(v.found.root)
		if err != nil {
			h.logger.Error("file cannot be opened", "path", v.path, "file", disk.Name, "error", err)
			h.fail(w, r, s, statusOfFile(err))
			return
		}
		defer f.Close()
		v.rewritten(w.Header())
		addVary(w.Header(), v.vary)
		answer := files.Answer{Found: disk, Meta: meta, ETag: s.files.tag.of(files.TagDefault).Of(disk.Info, time.Now())}
		if code := answer.Serve(s.dressed(w, meta.Type, modTime(disk)), r, f); code != 0 {
			w.Header().Del("Vary")
			w.Header().Del("Set-Cookie") // for the page of the error has them
			h.fail(w, r, s, code)
		}
	}
}

// unknownMethod is the status for a method that files do not answer.
func unknownMethod(method string) int {
	if slices.Contains([]string{"PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK",
		"VERSION-CONTROL", "CHECKOUT", "UNCHECKOUT", "CHECKIN", "UPDATE", "LABEL", "REPORT", "MKWORKSPACE", "MKACTIVITY", "BASELINE-CONTROL", "MERGE"}, method) {
		return http.StatusMethodNotAllowed
	}
	return http.StatusNotImplemented
}

// statusOfFile is the status for an error of the system.
func statusOfFile(err error) int {
	if os.IsNotExist(err) {
		return http.StatusNotFound
	}
	return http.StatusForbidden
}

// acts serves a file by its Action, as if its path stood behind that of the
// action.
func (h *host) acts(w http.ResponseWriter, r *http.Request, s *served, meta files.Meta) bool {
	if len(s.files.actions) == 0 {
		return false
	}
	v := visitOf(r)
	kind, _, _ := strings.Cut(meta.Type, ";")
	a, ok := s.files.actions[strings.ToLower(cmp.Or(v.handler, kind))]
	switch {
	case !ok:
		return false
	case !a.virtual && v.found.disk.Info == nil:
		h.fail(w, r, s, http.StatusNotFound)
	default:
		if v.handler != "" {
			v.set("HANDLER", v.handler)
		}
		to, query, _ := strings.Cut(a.path, "?")
		h.again(w, r, &url.URL{Path: to + v.path, RawQuery: cmp.Or(r.URL.RawQuery, query)})
	}
	return true
}

// serveFolder lists a folder, if Options say so.
func (h *host) serveFolder(w http.ResponseWriter, r *http.Request, s *served) {
	v := visitOf(r)
	dir := v.found.disk.Name
	if s.files.options.of(optFollow)&optIndexes == 0 {
		h.logger.Error("folder has no index, and may not be listed", "path", v.path, "folder", dir)
		h.fail(w, r, s, http.StatusForbidden)
		return
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		h.logger.Error("folder cannot be read", "path", v.path, "folder", dir, "error", err)
		h.fail(w, r, s, http.StatusForbidden)
		return
	}
	list := files.Listing{Path: v.path, Ignore: s.files.ignore}
	if !strings.HasSuffix(list.Path, "/") {
		list.Path += "/"
	}
	list.Header, list.Footer = partOf(dir, s.files.header), partOf(dir, s.files.readme)
	names := slices.DeleteFunc(list.Names(entries), func(name string) bool { return !h.shows(r, list.Path+name) })
	page := list.Page(names)
	w = s.dressed(w, "text/html", time.Time{})
	v.rewritten(w.Header())
	addVary(w.Header(), v.vary)
	w.Header().Set("Content-Type", "text/html;charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, page)
	}
}

// partOf returns what stands before or behind a list.
func partOf(dir, name string) string {
	if name == "" || strings.ContainsRune(name, '/') {
		return ""
	}
	text, err := plainfile.Read(filepath.Join(dir, name), 1<<20)
	if err != nil {
		return ""
	}
	return string(text)
}

// shows reports whether a client may ask for another path, so that lists name no
// files that are forbidden.
func (h *host) shows(r *http.Request, at string) bool {
	v := visitOf(r)
	before := *v
	defer func() { *v = before }()
	in := *r
	in.URL = &url.URL{Path: at}
	v.path = at
	out, code := h.translate(&in)
	if code != 0 {
		return false
	}
	sections, code := h.sectionsOf(v, out)
	if code != 0 {
		return false
	}
	s, err := h.served(nil, sections)
	if err != nil {
		return false
	}
	v.served = s
	return h.judge(out, s) == granted
}

// dress adds to the answer of a backend what sections say: the type that its name
// has, if it has none, a charset, and when it expires.
func (h *host) dress(resp *http.Response, s *served) {
	if resp.StatusCode < 200 {
		return
	}
	v := visitOf(resp.Request)
	f := resp.Header
	bare := resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified
	if !bare && (f["Content-Type"] == nil && h.opt.typed || !s.files.mime.IsZero()) {
		meta := s.metaOf(path.Base(resp.Request.URL.Path), h.opt.types)
		if f["Content-Type"] == nil && meta.Type != "" {
			f["Content-Type"] = []string{meta.Type}
		}
		if len(meta.Languages) > 0 {
			f["Content-Language"] = []string{strings.Join(meta.Languages, ",")}
		}
		if len(meta.Encodings) > 0 {
			f["Content-Encoding"] = []string{strings.Join(meta.Encodings, ", ")}
		}
	}
	if kind := f["Content-Type"]; len(kind) == 1 && said(s.files.defaultCharset, "") != "" {
		f["Content-Type"] = []string{s.withDefaultCharset(kind[0])}
	}
	if said(s.files.expires.active, false) {
		s.files.expires.apply(f, f.Get("Content-Type"), resp.StatusCode, modTime(v.found.disk))
	}
}

// dressed returns a writer that adds to an answer of this server's own what
// sections say of when it expires.
func (s *served) dressed(w http.ResponseWriter, kind string, changed time.Time) http.ResponseWriter {
	if !said(s.files.expires.active, false) {
		return w
	}
	return &dressedWriter{ResponseWriter: w, dress: func(code int) { s.files.expires.apply(w.Header(), kind, code, changed) }}
}

type dressedWriter struct {
	http.ResponseWriter
	dress func(code int)
}

func (w *dressedWriter) WriteHeader(code int) {
	if w.dress != nil && code >= 200 {
		w.dress(code)
		w.dress = nil
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *dressedWriter) Write(b []byte) (int, error) {
	if w.dress != nil {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// ReadFrom lets a file go its shortest way.
func (w *dressedWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.dress != nil {
		w.WriteHeader(http.StatusOK)
	}
	return io.Copy(w.ResponseWriter, r)
}

func (w *dressedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
