package explain

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// statuses are the words of Redirect.
var statuses = map[string]int{"permanent": 301, "temp": 302, "seeother": 303, "gone": 410}

// redirect is a Redirect of one of its kinds.
type redirect struct {
	at       *conf.Directive
	code     int
	path, to string
}

// redirects are those of the host that are written here: of a path to a URL.
func (h *host) redirects() (list []redirect) {
	for _, d := range h.directives {
		words, code := d.Args, 302
		switch {
		case d.Is("RedirectPermanent"):
			code = 301
		case d.Is("RedirectTemp"):
		case d.Is("RedirectMatch"):
			h.left = append(h.left, said(d))
			continue
		case d.Is("Redirect") && len(words) > 2:
			n, err := strconv.Atoi(words[0])
			if err != nil {
				n = statuses[strings.ToLower(words[0])]
			}
			code, words = n, words[1:]
		case !d.Is("Redirect"):
			continue
		}
		if len(words) != 2 || code < 301 || code > 308 || !strings.HasPrefix(words[0], "/") {
			h.left = append(h.left, said(d))
			continue
		}
		if u, err := url.Parse(words[1]); err != nil || u.Host == "" && !strings.HasPrefix(words[1], "/") {
			h.left = append(h.left, said(d))
			continue
		}
		list = append(list, redirect{d, code, words[0], words[1]})
	}
	return list
}

// writeRedirects writes them; ProxyPass stands before them, as in httpd.
func (h *host) writeRedirects(names []string) {
	for _, r := range h.redirects() {
		h.helper("redirect", `// redirect leads what is below a path elsewhere, the rest and the query with it.
func redirect(path, to string, code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := to + strings.TrimPrefix(r.URL.EscapedPath(), path)
		if r.URL.RawQuery != "" {
			target += "?" + r.URL.RawQuery
		}
		http.Redirect(w, r, target, code)
	})
}`)
		h.note(r.at)
		h.add(false, r.path, names, fmt.Sprintf("redirect(%q, %q, %d)", r.path, r.to, r.code))
	}
}
