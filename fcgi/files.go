package fcgi

import (
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
)

// serveFile answers with what is there under a path that names no script.
func (h *Handler) serveFile(w http.ResponseWriter, r *http.Request, p string) {
	if hidden(p) {
		h.missing(w, r)
		return
	}
	st, err := os.Stat(h.local(p))
	switch {
	case err != nil:
		h.missing(w, r)
	case st.IsDir():
		h.serveDirectory(w, r, p)
	case !st.Mode().IsRegular() || h.NoFiles || strings.HasSuffix(p, "/") || isSource(p, h.suffixes()):
		h.missing(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "The method is not allowed here.", http.StatusMethodNotAllowed)
	default:
		h.sendFile(w, r, p)
	}
}

func (h *Handler) sendFile(w http.ResponseWriter, r *http.Request, p string) {
	f, err := os.Open(h.local(p))
	if err != nil {
		status := http.StatusNotFound
		if os.IsPermission(err) {
			status = http.StatusForbidden
		}
		http.Error(w, http.StatusText(status), status)
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		h.missing(w, r)
		return
	}
	http.ServeContent(w, r, st.Name(), st.ModTime(), f)
}

// serveDirectory answers with the index of a directory. Its path must end in a
// slash, or relative links in it would lead astray.
func (h *Handler) serveDirectory(w http.ResponseWriter, r *http.Request, p string) {
	names := h.Index
	if names == nil {
		names = []string{"index.php", "index.html"}
	}
	slashed := strings.TrimSuffix(p, "/") + "/"
	for _, name := range names {
		st, err := os.Stat(h.local(slashed + name))
		if err != nil || !st.Mode().IsRegular() || hidden(name) {
			continue
		}
		if slashed != p {
			to := url.URL{Path: slashed, RawQuery: r.URL.RawQuery}
			w.Header().Set("Location", to.String())
			w.WriteHeader(http.StatusMovedPermanently)
			return
		}
		if isScript(slashed+name, h.suffixes()) {
			h.run(w, r, h.script(slashed+name, ""))
			return
		}
		if !h.NoFiles {
			h.serveFile(w, r, slashed+name)
			return
		}
	}
	h.missing(w, r)
}

// hidden reports whether a segment of the path begins with a dot.
func hidden(p string) bool {
	for segment := range strings.SplitSeq(p, "/") {
		if strings.HasPrefix(segment, ".") && segment != ".well-known" {
			return true
		}
	}
	return false
}

// isSource reports whether a file is the source of a script that must not be
// shown: by its suffix, or one of those that PHP is commonly given.
func isSource(p string, suffixes []string) bool {
	if isScript(p, suffixes) {
		return true
	}
	ext := strings.ToLower(path.Ext(strings.TrimRight(p, "~")))
	return strings.HasPrefix(ext, ".php") || ext == ".phtml" || ext == ".phar" || ext == ".inc"
}
