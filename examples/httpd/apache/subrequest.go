package apache

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// maxSubrequests bounds how deep subrequests may ask for others.
const maxSubrequests = 3

// reaches reports whether a request of a path, or of a file on disk, would be let
// in: the operators -U and -A of expressions, and -F. A relative path is one beside
// that of the request. As in httpd, what the same sections hold for is let in as the
// request itself.
func (v *visit) reaches(r *http.Request, to string, file bool) bool {
	if !file && !strings.HasPrefix(to, "/") {
		to = v.path[:strings.LastIndexByte(v.path, '/')+1] + to
	}
	u, err := url.ParseRequestURI(to)
	if file {
		u, err = &url.URL{Path: to}, nil
	}
	if err != nil || !strings.HasPrefix(to, "/") || v.subrequests >= maxSubrequests {
		return false
	}
	sub := *v
	sub.subrequests++
	sub.served, sub.env = v.host.base, maps.Clone(v.env)
	out := *r.WithContext(context.WithValue(r.Context(), visitKey{}, &sub))
	out.Method, out.URL, out.RequestURI = http.MethodGet, u, to
	asked, code := &out, 0
	if file {
		sub.path, sub.found = "", destination{file: to}
	} else {
		if sub.path, err = readPath(u); err != nil {
			return false
		}
		asked, code = v.host.translate(asked)
	}
	if code != 0 {
		return false
	}
	sections, code := v.host.sectionsOf(&sub, asked)
	if code != 0 {
		return false
	}
	if sub.served, err = v.host.served(sub.found.rule, sections); err != nil || sub.served != v.served && v.host.judge(asked, sub.served) != granted {
		return false
	}
	if file {
		_, err = os.Stat(to)
	}
	return err == nil
}
