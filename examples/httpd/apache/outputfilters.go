package apache

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/files"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/filter"
)

// filterSettings are what sections say of filters.
type filterSettings struct {
	set   []string                // SetOutputFilter
	named []namedFilter           // AddOutputFilter, RemoveOutputFilter
	smart map[string]*smartFilter // FilterDeclare, FilterProvider, AddOutputFilterByType
	chain []string                // of smart ones; "" empties what is before it

	level     *int              // DeflateCompressionLevel
	tag       *string           // DeflateAlterETag, in lower case
	notes     map[string]string // DeflateFilterNote: kind to name
	replace   []*filter.Substitution
	inherited *bool // SubstituteInheritBefore
	maxLine   *int

	html htmlSettings
}

// merge returns s with what inner says otherwise.
func (s filterSettings) merge(inner filterSettings) filterSettings {
	if len(inner.set) > 0 {
		s.set = inner.set
	}
	if len(inner.smart) > 0 {
		all := maps.Clone(s.smart)
		if all == nil {
			all = make(map[string]*smartFilter)
		}
		maps.Copy(all, inner.smart)
		s.smart = all
	}
	s.named = behind(s.named, inner.named)
	s.chain = behind(s.chain, inner.chain)
	over(&s.level, inner.level)
	over(&s.tag, inner.tag)
	over(&s.inherited, inner.inherited)
	over(&s.maxLine, inner.maxLine)
	if len(inner.notes) > 0 {
		s.notes = inner.notes
	}
	s.html = s.html.merge(inner.html)
	if said(s.inherited, false) {
		s.replace = behind(s.replace, inner.replace)
	} else {
		s.replace = behind(inner.replace, s.replace)
	}
	return s
}

// namedFilter is of files with an extension. The last of an extension counts.
type namedFilter struct {
	extension string // in lower case, without a dot
	names     []string
}

// smartFilter is a place in the chain, which one of several filters takes, or none.
type smartFilter struct{ providers []provider } // the last first

// provider is a filter, and for which answers it is.
type provider struct {
	name  string
	types []string
	when  *condition
}

// filterDirectives are those of mod_filter, mod_deflate and mod_substitute, and what
// the core says of filters.
func filterDirectives() []directive {
	nothing := func(note string, names ...string) (list []directive) {
		for _, n := range names {
			list = append(list, directive{name: n, in: anywhere, min: 1, max: -1, note: note})
		}
		return list
	}
	return slices.Concat([]directive{
		{name: "SetOutputFilter", in: anywhere, min: 1, max: 1, note: "DEFLATE, INFLATE, SUBSTITUTE, proxy-html", apply: func(b *builder, s *scope, d *conf.Directive) error {
			names, err := b.filterNames(d, d.Args[0])
			s.settings.filters.set = append(names, "") // an empty one says so, too
			return err
		}},
		{name: "AddOutputFilter", in: anywhere, min: 2, max: -1, note: "as SetOutputFilter; by the name of a file, or of the backend's URL", apply: func(b *builder, s *scope, d *conf.Directive) error {
			text := d.Args[0]
			if words := strings.Split(text, ";"); slices.ContainsFunc(words, isIncludes) { // what would be put together is not shown as it is
				b.warn(d.Errorf("pages with server-side includes are not put together here: files of these names are answered with 403"))
				s.settings.files.mime.Add(files.Handler, "server-parsed", d.Args[1:]...)
				text = strings.Join(slices.DeleteFunc(words, isIncludes), ";")
			}
			names, err := b.filterNames(d, text)
			s.settings.filters.name(names, d.Args[1:])
			return err
		}},
		{name: "RemoveOutputFilter", in: inSection, min: 1, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			s.settings.filters.name(nil, d.Args)
			return nil
		}},
		{name: "AddOutputFilterByType", in: anywhere, min: 2, max: -1, note: "as SetOutputFilter", apply: func(b *builder, s *scope, d *conf.Directive) error {
			names, err := b.filterNames(d, d.Args[0])
			for _, name := range names {
				at := "BYTYPE:" + name
				if s.settings.filters.smart[at] == nil {
					s.settings.filters.chain = append(s.settings.filters.chain, at)
				}
				s.settings.filters.provide(at, provider{name: name, types: d.Args[1:]})
			}
			return err
		}},
		{name: "FilterDeclare", in: anywhere, min: 1, max: 2, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			s.settings.filters.provide(d.Args[0])
			return nil
		}},
		{name: "FilterProvider", in: anywhere, min: 3, max: 3, apply: func(b *builder, s *scope, d *conf.Directive) error {
			when, err := parseCondition(d.Args[2])
			if err != nil {
				return err
			}
			names, err := b.filterNames(d, d.Args[1])
			for _, name := range names {
				s.settings.filters.provide(d.Args[0], provider{name: name, when: when})
			}
			return err
		}},
		{name: "FilterChain", in: anywhere, min: 1, max: -1, apply: applyFilterChain},
		{name: "DeflateCompressionLevel", in: anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			n, err := strconv.Atoi(d.Args[0])
			if err != nil || n < 1 || n > 9 {
				return fmt.Errorf("%q is no number from 1 to 9", d.Args[0])
			}
			s.settings.filters.level = &n
			return nil
		}},
		{name: "DeflateFilterNote", in: anyServer, min: 1, max: 2, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			kind := "ratio"
			if len(d.Args) == 2 {
				kind = strings.ToLower(d.Args[0])
			}
			if kind != "ratio" && kind != "input" && kind != "output" {
				return fmt.Errorf("%q is neither Input, Output nor Ratio", d.Args[0])
			}
			notes := maps.Clone(s.settings.filters.notes)
			if notes == nil {
				notes = make(map[string]string)
			}
			notes[kind] = d.Args[len(d.Args)-1]
			s.settings.filters.notes = notes
			return nil
		}},
		{name: "DeflateAlterETag", in: anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			tag := strings.ToLower(d.Args[0])
			if tag != "addsuffix" && tag != "nochange" && tag != "remove" {
				return fmt.Errorf("%q is neither AddSuffix, NoChange nor Remove", d.Args[0])
			}
			s.settings.filters.tag = &tag
			return nil
		}},
		{name: "Substitute", in: inSection | anyServer, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			one, err := filter.ParseSubstitution(d.Args[0])
			s.settings.filters.replace = append(s.settings.filters.replace, one)
			return err
		}},
		{name: "SubstituteInheritBefore", in: anywhere, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.filters.inherited })},
		{name: "SubstituteMaxLineLength", in: anywhere, min: 1, max: 1, note: "also the longest that a line may become", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			n, err := size(d.Args[0])
			s.settings.filters.maxLine = &n
			return err
		}},
	},
		nothing("Go's packer has its own", "DeflateBufferSize", "DeflateMemLevel", "DeflateWindowSize"),
		nothing("requests are not unpacked", "DeflateInflateLimitRequestBody", "DeflateInflateRatioBurst", "DeflateInflateRatioLimit"),
		nothing("every answer can be filtered", "FilterProtocol", "FilterTrace"),
		nothing("there is no such filter; what names it goes on without", "BrotliCompressionQuality", "BrotliCompressionWindow", "BrotliCompressionMaxInputBlock", "BrotliAlterETag", "BrotliFilterNote"),
	)
}

// size reads a number of bytes: of 1024 with k, and so on.
func size(text string) (int, error) {
	digits := strings.TrimRight(text, "bkmgBKMG")
	shift, ok := map[string]uint{"": 0, "b": 0, "k": 10, "m": 20, "g": 30}[strings.ToLower(text[len(digits):])]
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || !ok || n == 0 {
		return 0, fmt.Errorf("%q is no number of bytes", text)
	}
	return int(n) << shift, nil
}

// provide adds providers to a smart filter.
func (s *filterSettings) provide(at string, more ...provider) {
	if s.smart == nil {
		s.smart = make(map[string]*smartFilter)
	}
	if s.smart[at] == nil {
		s.smart[at] = new(smartFilter)
	}
	s.smart[at].providers = append(more, s.smart[at].providers...)
}

// name gives files with extensions filters.
func (s *filterSettings) name(names, extensions []string) {
	for _, e := range extensions {
		s.named = append(s.named, namedFilter{strings.ToLower(strings.TrimPrefix(e, ".")), names})
	}
}

// isIncludes reports whether a filter is that of mod_include.
func isIncludes(name string) bool { return strings.EqualFold(name, "INCLUDES") }

// filterNames reads "name;name", and leaves out what can be missed.
func (b *builder) filterNames(d *conf.Directive, text string) (list []string, err error) {
	for name := range strings.SplitSeq(text, ";") {
		switch upper := strings.ToUpper(name); upper {
		case "DEFLATE", "INFLATE", "SUBSTITUTE", "PROXY-HTML":
			list = append(list, upper)
		case "", "NONE":
		case "BROTLI_COMPRESS":
			b.warn(d.Errorf("BROTLI_COMPRESS is left out: DEFLATE packs for all clients"))
		case "XML2ENC", "BUFFER", "CONTENT_LENGTH":
			b.warn(d.Errorf("%s is left out: it has no effect here", upper))
		case "INCLUDES":
			return nil, fmt.Errorf("INCLUDES is not supported: pages with server-side includes are not put together here")
		case "RATE_LIMIT":
			return nil, fmt.Errorf("RATE_LIMIT is not supported: answers go as fast as their client reads")
		default:
			return nil, fmt.Errorf("filter %s is not supported: DEFLATE, INFLATE, SUBSTITUTE and proxy-html are", name)
		}
	}
	return list, nil
}

// applyFilterChain reads "[+=-@!]name …".
func applyFilterChain(_ *builder, s *scope, d *conf.Directive) error {
	chain := &s.settings.filters.chain
	for _, w := range d.Args {
		switch name := w[1:]; w[0] {
		case '+':
			*chain = append(*chain, name)
		case '@':
			*chain = append([]string{name}, *chain...)
		case '-':
			*chain = slices.DeleteFunc(*chain, func(n string) bool { return n == name })
		case '!':
			*chain = []string{""}
		case '=':
			*chain = []string{"", name}
		default:
			*chain = append(*chain, w)
		}
	}
	return nil
}

// steps returns what happens to an answer, in httpd's order: what changes content
// first, and what packs it last.
func (s *filterSettings) steps() (list []filterStep) {
	var packs []filterStep
	for _, name := range s.set {
		switch name {
		case "", "NONE":
		case "DEFLATE":
			packs = append(packs, filterSteps[name])
		case "INFLATE":
			list = append([]filterStep{filterSteps[name]}, list...)
		default:
			list = append(list, filterSteps[name])
		}
	}
	chain := s.chain
	for i, name := range s.chain {
		if name == "" {
			chain = s.chain[i+1:]
		}
	}
	for _, name := range chain {
		if one := s.smart[name]; one != nil {
			list = append(list, one.step)
		}
	}
	if said(s.html.enable, false) && !slices.Contains(s.set, "PROXY-HTML") {
		list = append(list, proxyHTML)
	}
	list = append(list, packs...)
	if len(s.named) > 0 {
		for _, name := range []string{"INFLATE", "SUBSTITUTE", "PROXY-HTML", "DEFLATE"} {
			list = append(list, s.namedStep(name))
		}
	}
	return list
}

// namedStep does what a filter does, if it is a filter of the file's.
func (s *filterSettings) namedStep(of string) filterStep {
	return func(w *answerWriter, code int) bodyFilter {
		name := w.visit.found.disk.Name
		if w.visit.found.rule != nil {
			name = w.visit.filename(w.request)
		}
		extensions := strings.Split(strings.ToLower(path.Base(name)), ".")[1:]
		for _, e := range extensions {
			for _, n := range slices.Backward(s.named) {
				if n.extension != e {
					continue
				}
				if slices.Contains(n.names, of) {
					return filterSteps[of](w, code)
				}
				break
			}
		}
		return nil
	}
}

// step is that of the first provider that fits.
func (f *smartFilter) step(w *answerWriter, code int) bodyFilter {
	for _, p := range f.providers {
		if !p.fits(w) {
			continue
		}
		if p.name == "DEFLATE" { // httpd's harness says so of it before it has looked
			w.Header().Set("Accept-Ranges", "none")
			w.Header().Del("Etag")
			w.Header().Del("Content-Md5")
			if w.bodiless(code) {
				w.Header().Del("Content-Length")
			}
		}
		return filterSteps[p.name](w, code)
	}
	return nil
}

func (p *provider) fits(w *answerWriter) bool {
	if p.when != nil {
		return p.when.holds(w.visit, w.request)
	}
	kind := w.Header().Get("Content-Type")
	if i := strings.IndexAny(kind, "; \t"); i >= 0 {
		kind = kind[:i]
	}
	return kind != "" && slices.Contains(p.types, kind)
}
