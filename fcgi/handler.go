package fcgi

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/modproxy/modproxy/fcgi/internal/cgi"
	"github.com/modproxy/modproxy/proxy"
	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// Handler serves a site of scripts and of files beside them: a request for a
// script, with what follows it in the path, goes to the FastCGI application,
// one for any other file gets that, one for a directory its index, and all else
// the front controller.
//
// A script is run only if it is a regular file below Root: "/upload/x.jpg/y.php"
// never runs x.jpg. Files and directories whose names begin with a dot are not
// there, but for ".well-known", and neither is the source of scripts under
// names that SplitPath does not have, such as "x.phtml".
type Handler struct {
	// Root is the directory of the site. Symbolic links in it are followed.
	Root string

	// ScriptRoot is Root as the application sees it, when that runs elsewhere.
	// Empty means Root.
	ScriptRoot string

	// Index lists the names that stand for a directory; the first that exists
	// is taken. If nil, "index.php" and "index.html"; an empty list has none.
	// Apache: DirectoryIndex.
	Index []string

	// FrontController is the path below Root, such as "/index.php", of the
	// script that gets requests for what does not exist. Empty answers those
	// with 404. Apache: FallbackResource.
	FrontController string

	// SplitPath lists the suffixes of scripts. If nil, ".php".
	SplitPath []string

	// NoFiles serves scripts alone: whoever asks for a file gets what is there
	// for those that do not exist.
	NoFiles bool

	// Proxy passes requests on. Its Transport must lead to a [Transport], be it
	// by way of a balancer.
	Proxy *proxy.Handler
}

// NewHandler returns a Handler for the scripts and files in root, run by the
// FastCGI application at target: "fcgi://127.0.0.1:9000", or
// "unix:/run/php/php-fpm.sock|fcgi://localhost". The settings of its
// Proxy.Transport, a [*Transport], may be changed before the first request. Its
// Spool.All is set: no child waits for a slow upload, and none gets a part of one.
// The answer to an upload that is longer than Spool.Max, by default 1 GiB, is 413.
func NewHandler(root, target string) (*Handler, error) {
	b, err := backend.Parse(target)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(b.URL.Scheme, "fcgi") {
		return nil, fmt.Errorf("fcgi: target %q: want a URL of the scheme fcgi", backend.RedactURL(target))
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	if st, err := os.Stat(root); err != nil || !st.IsDir() {
		return nil, fmt.Errorf("fcgi: root %s is no directory", root)
	}
	b.IdleTTL, b.ReadBufferSize = DefaultIdleTTL, readBufferSize
	return &Handler{Root: root, Proxy: &proxy.Handler{
		Prefix: "/", Target: &url.URL{Scheme: "fcgi", Host: b.URL.Host, Path: "/"},
		AllowEncodedSlashes: true, // behind a script's name, and where no file is looked for: see run
		Transport:           &Transport{Backend: b, Spool: exchange.Spool{All: true}},
	}}, nil
}

// ServeHTTP serves a script, a file, or a redirection to a directory.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := exchange.CheckHost(r); err != nil {
		h.refuse(w, r, err)
		return
	}
	p, ok := sitePath(r.URL)
	if !ok {
		http.Error(w, "The path is malformed.", http.StatusBadRequest)
		return
	}
	if s := h.find(p); s != nil {
		h.run(w, r, s)
		return
	}
	if escapesSlash(r.URL.RawPath, len(r.URL.Path)) {
		h.missing(w, r)
		return
	}
	h.serveFile(w, r, p)
}

// refuse answers a request whose Host is none.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if h.Proxy != nil && h.Proxy.ErrorHandler != nil {
		h.Proxy.ErrorHandler(w, r, err)
		return
	}
	http.Error(w, "The host is malformed.", http.StatusBadRequest)
}

// sitePath returns the path of u without dot segments and empty ones, or false
// if it could not be the name of a file, or leads out of the site.
func sitePath(u *url.URL) (string, bool) {
	p := u.Path
	if p == "" || p[0] != '/' || cgi.HasControl(p) || filepath.Separator != '/' && strings.ContainsAny(p, `\:`) {
		return "", false
	}
	depth := 0
	for segment := range strings.SplitSeq(p, "/") {
		switch segment {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return "", false
			}
		default:
			depth++
		}
	}
	clean := path.Clean(p)
	if clean != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		clean += "/"
	}
	return clean, true
}

func (h *Handler) suffixes() []string {
	if h.SplitPath == nil {
		return phpSuffix
	}
	return h.SplitPath
}

// find returns the script that the path names, or nil: the first part of the
// path that ends in a suffix of scripts and is a regular file. It asks the file
// system no further than directories go.
func (h *Handler) find(p string) *script {
	suffixes := h.suffixes()
	for begin, i := 1, 1; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		if hidden(p[begin:i]) {
			return nil
		}
		if begin = i; !isScript(p[:i], suffixes) {
			continue
		}
		st, err := os.Stat(h.local(p[:i]))
		if err != nil || !st.IsDir() && !st.Mode().IsRegular() {
			return nil
		}
		if st.Mode().IsRegular() {
			return h.script(p[:i], p[i:])
		}
	}
	return nil
}

// local returns the file of a path.
func (h *Handler) local(p string) string { return filepath.Join(h.Root, filepath.FromSlash(p)) }

func (h *Handler) script(name, info string) *script {
	root := h.ScriptRoot
	if root == "" {
		root = filepath.ToSlash(h.Root)
	}
	root = strings.TrimSuffix(root, "/")
	return &script{filename: root + name, name: name, info: info, root: root}
}

// run passes the request to the application.
func (h *Handler) run(w http.ResponseWriter, r *http.Request, s *script) {
	end := len(s.name)
	if s.name+s.info != r.URL.Path { // it was made clean, so the name may end further on
		end = len(r.URL.Path)
	}
	if escapesSlash(r.URL.RawPath, end) {
		http.NotFound(w, r)
		return
	}
	h.pass(w, r, s)
}

func (h *Handler) pass(w http.ResponseWriter, r *http.Request, s *script) {
	if h.Proxy == nil {
		http.Error(w, "No application is configured.", http.StatusInternalServerError)
		return
	}
	h.Proxy.ServeHTTP(w, r.WithContext(withScript(r.Context(), s)))
}

// missing answers a request for what does not exist.
func (h *Handler) missing(w http.ResponseWriter, r *http.Request) {
	if h.FrontController == "" {
		http.NotFound(w, r)
		return
	}
	name := path.Clean("/" + h.FrontController)
	h.pass(w, r, h.script(name, ""))
}

// CloseIdleConnections closes those of Proxy, as [proxy.Handler] does.
func (h *Handler) CloseIdleConnections() {
	if h.Proxy != nil {
		h.Proxy.CloseIdleConnections()
	}
}
