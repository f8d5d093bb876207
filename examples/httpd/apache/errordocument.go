package apache

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// applyErrorDocument reads "code text|/path|URL|default".
func applyErrorDocument(_ *builder, s *scope, d *conf.Directive) error {
	code, err := strconv.Atoi(d.Args[0])
	if err != nil || code < 400 || code > 599 {
		return fmt.Errorf("%q is no code from 400 to 599", d.Args[0])
	}
	what := d.Args[1]
	if code == http.StatusUnauthorized && isURL(what) {
		return fmt.Errorf("a 401 cannot be answered with the URL of another place")
	}
	docs := map[int]string{code: what}
	s.settings.documents = mergeDocuments(s.settings.documents, docs)
	return nil
}

func mergeDocuments(outer, inner map[int]string) map[int]string {
	if len(inner) == 0 {
		return outer
	}
	all := make(map[int]string, len(outer)+len(inner))
	for _, m := range []map[int]string{outer, inner} {
		for code, what := range m {
			all[code] = what
		}
	}
	return all
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != ""
}

// fail answers with an error of this server: by its ErrorDocument, or in one
// plain sentence.
func (h *host) fail(w http.ResponseWriter, r *http.Request, s *served, code int) {
	v := visitOf(r)
	v.status = code
	v.stepAside()
	what := s.documents[code]
	switch {
	case v.page != 0: // a page of an error that fails itself has none
		h.sentence(w, r, s, v.page)
	case what == "" || what == "default":
		h.sentence(w, r, s, code)
	case strings.HasPrefix(what, "/"):
		h.internalRedirect(w, r, what, code)
	case isURL(what):
		if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok && code == backendStatus(r) {
			w = u.Unwrap() // proxy.ErrorOverride keeps the backend's status otherwise
		}
		w.Header().Set("Location", what)
		h.sentence(w, r, s, http.StatusFound)
	default:
		h.page(w, r, s, code, "text/html; charset=iso-8859-1", what)
	}
}

// backendStatus is what the backend answered, for pages of proxy.ErrorOverride.
func backendStatus(r *http.Request) int {
	if rec := exchange.RecordFrom(r.Context()); rec != nil {
		return rec.BackendStatus
	}
	return 0
}

func (h *host) sentence(w http.ResponseWriter, r *http.Request, s *served, code int) {
	text := http.StatusText(code)
	if text == "" {
		text = "Error"
	}
	if code == http.StatusNoContent {
		addVary(w.Header(), visitOf(r).vary)
		h.page(w, r, s, code, "", "")
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	h.page(w, r, s, code, "text/plain; charset=utf-8", fmt.Sprintf("%d %s\n", code, text))
}

// page answers with a text. Nothing of the request is in it.
func (h *host) page(w http.ResponseWriter, r *http.Request, s *served, code int, kind, text string) {
	visitOf(r).stepAside()
	header := w.Header()
	header.Del("Content-Encoding")
	if kind != "" {
		header.Set("Content-Type", kind)
		header.Set("Content-Length", strconv.Itoa(len(text)))
	}
	visitOf(r).rewritten(header)
	addAlways(header, s.header, r)
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, text)
	}
}

// internalRedirect serves another path with the status of the error, as if it
// had been asked for by GET.
func (h *host) internalRedirect(w http.ResponseWriter, r *http.Request, to string, code int) {
	u, err := url.ParseRequestURI(to)
	if err != nil { // applyErrorDocument's text is not checked, for httpd takes any
		http.Error(w, http.StatusText(code), code)
		return
	}
	v := visitOf(r)
	v.page = code
	again := r.Clone(r.Context())
	again.URL = u
	if r.Method != http.MethodHead {
		again.Method = http.MethodGet
	}
	again.Body, again.ContentLength, again.TransferEncoding, again.Trailer = http.NoBody, 0, nil, nil
	again.Header.Del("Expect")
	for name := range again.Header { // the page of an error has no conditions
		if strings.HasPrefix(name, "If-") || name == "Range" {
			again.Header.Del(name)
		}
	}
	v.leave(r, code)
	v.set("REDIRECT_REQUEST_METHOD", r.Method)
	h.route(&codeWriter{ResponseWriter: w, code: code}, again)
}

// codeWriter answers with a status of its own in place of success. A page that leads
// elsewhere, to a login, or that fails at its backend says so itself, as in httpd.
type codeWriter struct {
	http.ResponseWriter
	code  int
	wrote bool
}

func (w *codeWriter) WriteHeader(code int) {
	if code < 200 {
		return // an interim answer to the page is none to the request
	}
	if !w.wrote {
		w.wrote = true
		if code >= 300 {
			w.code = code
		}
		w.ResponseWriter.WriteHeader(w.code)
	}
}

func (w *codeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.ResponseWriter.Write(b)
}

func (w *codeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
