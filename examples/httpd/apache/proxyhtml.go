package apache

import (
	"net/http"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/filter"
)

// htmlSettings say how the links of pages are changed.
type htmlSettings struct {
	enable, extended, strip *bool
	maps                    []*filter.URLMap
	links                   map[string][]string
	events                  []string
}

// merge returns s with what inner says otherwise. As in httpd, what one of the two has
// of links and events counts alone, and of maps those of both, the last first.
func (s htmlSettings) merge(inner htmlSettings) htmlSettings {
	over(&s.enable, inner.enable)
	over(&s.extended, inner.extended)
	over(&s.strip, inner.strip)
	if inner.links != nil {
		s.links = inner.links
	}
	if inner.events != nil {
		s.events = inner.events
	}
	switch {
	case len(s.maps) == 0:
		s.maps = inner.maps
	case len(inner.maps) > 0:
		s.maps = behind(s.maps, inner.maps)
		slices.Reverse(s.maps)
	}
	return s
}

// page is what the filter is told.
func (s *htmlSettings) page() *filter.Page {
	return &filter.Page{Maps: s.maps, Links: s.links, Events: s.events, Extended: said(s.extended, false), Strip: said(s.strip, false)}
}

// htmlDirectives are those of mod_proxy_html and mod_xml2enc.
func htmlDirectives() []directive {
	on := func(name string, field func(*htmlSettings) **bool) directive {
		return directive{name: name, in: anywhere, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return field(&s.filters.html) })}
	}
	nothing := func(note string, names ...string) (list []directive) {
		for _, n := range names {
			list = append(list, directive{name: n, in: anywhere, min: 0, max: -1, note: note})
		}
		return list
	}
	return slices.Concat([]directive{
		on("ProxyHTMLEnable", func(s *htmlSettings) **bool { return &s.enable }),
		on("ProxyHTMLExtended", func(s *htmlSettings) **bool { return &s.extended }),
		on("ProxyHTMLStripComments", func(s *htmlSettings) **bool { return &s.strip }),
		{name: "ProxyHTMLURLMap", in: anywhere, min: 2, max: 3, note: "a page stays as it is but for its links; in a page that is packed nothing is found, so unset Accept-Encoding", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			m, err := filter.ParseURLMap(d.Args[0], d.Args[1], strings.Join(d.Args[2:], ""))
			s.settings.filters.html.maps = append(s.settings.filters.html.maps, m)
			return err
		}},
		{name: "ProxyHTMLLinks", in: anywhere, min: 2, max: -1, note: "without any, nothing is a link: httpd's proxy-html.conf has the usual ones", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			h := &s.settings.filters.html
			if h.links == nil {
				h.links = make(map[string][]string)
			}
			for _, attribute := range d.Args[1:] {
				element := strings.ToLower(d.Args[0])
				h.links[element] = append(h.links[element], strings.ToLower(attribute))
			}
			return nil
		}},
		{name: "ProxyHTMLEvents", in: anywhere, min: 1, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			for _, name := range d.Args {
				s.settings.filters.html.events = append(s.settings.filters.html.events, strings.ToLower(name))
			}
			return nil
		}},
	},
		nothing("a page stays as it is but for its links", "ProxyHTMLDocType", "ProxyHTMLFixups", "ProxyHTMLMeta", "ProxyHTMLBufSize"),
		nothing("variables are replaced when the file is read", "ProxyHTMLInterp"),
		nothing("no characters are changed", "ProxyHTMLCharsetOut", "xml2EncDefault", "xml2EncAlias", "xml2StartParse"),
	)
}

// proxyHTML changes the links of pages, as mod_proxy_html.
func proxyHTML(w *answerWriter, code int) bodyFilter {
	h, s := w.Header(), &w.served.filters.html
	kind, _, _ := strings.Cut(strings.ToLower(h.Get("Content-Type")), ";")
	html := slices.Contains([]string{"text/html", "application/xhtml+xml"}, strings.TrimSpace(kind))
	if w.visit.found.rule == nil || !html || len(s.maps) == 0 && !said(s.strip, false) || h["Content-Encoding"] != nil || h["Content-Range"] != nil || code == http.StatusPartialContent {
		return nil
	}
	for _, name := range []string{"Content-Length", "Content-Md5", "Etag"} {
		h.Del(name)
	}
	page := s.page()
	return func(next filter.Writer) filter.Filter { return filter.HTML(next, page) }
}
