package apache

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/rewrite"
)

// redirection is a Redirect or RedirectMatch.
type redirection struct {
	path    string           // whose segments it takes
	pattern *pattern.Pattern // of RedirectMatch, in place of path
	status  int
	to      string // empty for a status that is no redirect
}

// redirectSettings are those of a section.
type redirectSettings struct {
	list     []*redirection
	to       *phrase // Redirect with an expression, for all of a section
	status   int     // of it
	relative *bool   // RedirectRelative
}

// merge returns s with what inner says otherwise.
func (s redirectSettings) merge(inner redirectSettings) redirectSettings {
	s.list = behind(inner.list, s.list)
	if inner.status != 0 {
		s.to, s.status = inner.to, inner.status
	}
	over(&s.relative, inner.relative)
	return s
}

// redirectDirectives are those of mod_alias that lead clients elsewhere.
func redirectDirectives() []directive {
	return []directive{
		{name: "Redirect", in: anywhere, min: 1, max: 3, note: "in a section, a URL alone is an expression and holds for all of it", apply: applyRedirect},
		{name: "RedirectMatch", in: anywhere, min: 2, max: 3, apply: applyRedirect},
		{name: "RedirectPermanent", in: anywhere, min: 1, max: 2, apply: applyRedirect},
		{name: "RedirectTemp", in: anywhere, min: 1, max: 2, apply: applyRedirect},
		{name: "RedirectRelative", in: anywhere, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			on, err := onOff(d)
			s.settings.redirects.relative, s.serverRedirects.relative = &on, &on
			return err
		}},
	}
}

// applyRedirect reads "[status] [path|regex] [URL]".
func applyRedirect(_ *builder, s *scope, d *conf.Directive) (err error) {
	words := d.Args
	section := s.context&anyServer == 0
	own := &s.settings.redirects
	if !section {
		own = &s.serverRedirects // they are none of the sections in it
	}
	status := http.StatusFound
	if d.Is("RedirectPermanent") {
		status = http.StatusMovedPermanently
	}
	named := false
	if d.Is("Redirect") || d.Is("RedirectMatch") {
		code, bad := rewrite.StatusNamed(words[0])
		if named = bad == nil || words[0] != "" && strings.Trim(words[0], "0123456789") == ""; named {
			if bad != nil {
				return bad
			}
			status, words = code, words[1:]
		}
	}
	elsewhere := status >= 300 && status < 400
	match := d.Is("RedirectMatch")
	if section && !match && (len(words) == 0 || len(words) == 1 && elsewhere) {
		own.status = status
		if !elsewhere {
			return nil
		}
		if len(words) == 0 {
			return errors.New("the URL to redirect to is missing")
		}
		own.to, err = parsePhrase(words[0])
		return err
	}
	switch {
	case len(words) == 0:
		return errors.New("want a path")
	case elsewhere && len(words) == 1:
		return errors.New("the URL to redirect to is missing")
	case elsewhere && len(words) > 2, !elsewhere && len(words) > 1 && !named:
		return fmt.Errorf("%q is no status", words[0])
	case !elsewhere && len(words) > 1:
		return fmt.Errorf("status %d takes no URL", status)
	}
	r := &redirection{path: words[0], status: status}
	if match {
		if r.pattern, err = pattern.Compile(r.path); err != nil {
			return err
		}
	} else if !strings.HasPrefix(r.path, "/") {
		return fmt.Errorf("path %q does not begin with a slash", r.path)
	}
	if elsewhere {
		if r.to = words[1]; !match && !isURL(r.to) && !strings.HasPrefix(r.to, "/") && !strings.Contains(r.to, "://") {
			return fmt.Errorf("%q is no URL, nor a path that begins with a slash", r.to)
		}
	}
	own.list = append(own.list, r)
	return nil
}

// target returns where a path is led, escaped; false if it is not.
func (r *redirection) target(path string) (string, bool) {
	if r.pattern != nil {
		groups := r.pattern.FindStringSubmatch(path)
		if groups == nil {
			return "", false
		}
		if r.to == "" {
			return "", true
		}
		return escapeTarget(substitute(r.to, groups)), true
	}
	rest, ok := cutSegments(path, r.path)
	if !ok {
		return "", false
	}
	if r.to == "" {
		return "", true
	}
	return r.to + rewrite.EscapePath(rest), true
}

// cutSegments takes a path off the beginning of another one, whole segments of
// it, and returns the rest with its slash.
func cutSegments(at, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(at, prefix)
	if !ok || rest != "" && rest[0] != '/' && !strings.HasSuffix(prefix, "/") {
		return "", false
	}
	return rest, true
}

// escapeTarget escapes a URL but for its query and fragment.
func escapeTarget(to string) string {
	end := strings.IndexAny(to, "?#")
	if end < 0 {
		end = len(to)
	}
	return rewrite.EscapePath(to[:end]) + to[end:]
}

// redirectOf returns the status and Location that redirects of settings have for a
// request; 0 for none.
func (h *host) redirectOf(v *visit, r *http.Request, set *redirectSettings) (code int, to string) {
	if set.status != 0 {
		code = set.status
		if set.to != nil {
			to = escapeTarget(set.to.of(v, r))
		}
	} else {
		for _, one := range set.list {
			var ok bool
			if to, ok = one.target(v.path); ok {
				code = one.status
				break
			}
		}
	}
	if to == "" {
		return code, ""
	}
	if strings.HasPrefix(to, "/") && !said(set.relative, false) {
		to = rewriteServer{h, v, r}.Self() + to
	}
	if r.URL.RawQuery != "" && !strings.Contains(to, "?") {
		to += "?" + r.URL.RawQuery
	}
	return code, to
}

// byRedirects obeys the redirects of the server.
func (h *host) byRedirects(v *visit, r *http.Request) (*http.Request, bool, int) {
	code, to := h.redirectOf(v, r, &h.redirects)
	v.found.location = to
	return r, false, code
}

// redirect answers with a redirect.
func (h *host) redirect(w http.ResponseWriter, r *http.Request, s *served, code int, to string) {
	if to == "" {
		h.fail(w, r, s, code)
		return
	}
	if _, err := url.Parse(to); err != nil || strings.ContainsAny(to, "\r\n") {
		h.logger.Error("redirect to what is no URL", "path", visitOf(r).path)
		h.fail(w, r, s, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Location", to)
	h.sentence(w, r, s, cmp.Or(visitOf(r).page, code)) // a page that is not there is no answer to the error
}
