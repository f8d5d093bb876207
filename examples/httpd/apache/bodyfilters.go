package apache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/filter"
)

// bodyFilter begins to change a body.
type bodyFilter func(next filter.Writer) filter.Filter

// filterStep changes the header of an answer, and returns what changes the body, or
// nil where the answer is left as it is.
type filterStep func(w *answerWriter, code int) bodyFilter

// filterSteps are the filters by name.
var filterSteps = map[string]filterStep{"DEFLATE": deflate, "INFLATE": inflate, "SUBSTITUTE": substituteStep, "PROXY-HTML": proxyHTML}

// short is how long a body may be that is not worth being packed, as in httpd.
const short = 68

// deflate packs, as mod_deflate.
func deflate(w *answerWriter, code int) bodyFilter {
	h, v, s := w.Header(), w.visit, &w.served.filters
	if _, off := v.env["no-gzip"]; off || h["Content-Range"] != nil || w.bodiless(code) && (code != http.StatusOK || v.found.rule != nil) {
		return nil
	}
	if v.env["gzip-only-text/html"] == "1" && !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		return nil
	}
	coded := fieldTokens(h["Content-Encoding"])
	for _, c := range coded {
		if !slices.Contains([]string{"identity", "7bit", "8bit", "binary"}, c) {
			return nil
		}
	}
	if n, err := strconv.Atoi(h.Get("Content-Length")); err == nil && n <= short {
		return nil
	}
	if !slices.ContainsFunc(fieldTokens(h["Vary"]), func(f string) bool { return strings.EqualFold(f, "Accept-Encoding") }) {
		h["Vary"] = joined(h["Vary"], "Accept-Encoding")
	}
	if _, force := v.env["force-gzip"]; !force && !acceptsGzip(w.request.Header["Accept-Encoding"]) {
		return nil
	}
	if len(coded) == 1 && strings.EqualFold(coded[0], "identity") {
		h.Del("Content-Encoding")
	}
	h["Content-Encoding"] = joined(h["Content-Encoding"], "gzip")
	h.Del("Content-Length")
	h.Del("Content-Md5")
	alterTag(h, said(s.tag, "addsuffix"), "-gzip")
	return func(next filter.Writer) filter.Filter {
		p := v.site.packers[said(s.level, 0)].Filter(next)
		w.packed = p
		return p
	}
}

// acceptsGzip reads Accept-Encoding as mod_deflate does.
func acceptsGzip(field []string) bool {
	for part := range strings.SplitSeq(strings.Join(field, ","), ",") {
		coding, params, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		q, _, _ := strings.Cut(params, ";")
		q = strings.TrimSpace(q)
		return len(q) < 3 || !strings.HasPrefix("q=0.000", q)
	}
	return false
}

// fieldTokens are the words of a list, without parameters.
func fieldTokens(field []string) (list []string) {
	for part := range strings.SplitSeq(strings.Join(field, ","), ",") {
		word, _, _ := strings.Cut(part, ";")
		if word = strings.TrimSpace(word); word != "" {
			list = append(list, word)
		}
	}
	return list
}

// alterTag says that the body is another one than that of the ETag.
func alterTag(h http.Header, how, suffix string) {
	tag := h.Get("Etag")
	switch {
	case how == "remove":
		h.Del("Etag")
	case how == "addsuffix" && len(tag) > 2 && strings.HasSuffix(tag, `"`):
		h["Etag"] = []string{tag[:len(tag)-1] + suffix + `"`}
	}
}

// inflate unpacks what is packed by gzip.
func inflate(w *answerWriter, code int) bodyFilter {
	h := w.Header()
	coded := fieldTokens(h["Content-Encoding"])
	if _, off := w.visit.env["no-gzip"]; off || h["Content-Range"] != nil || len(coded) == 0 {
		return nil
	}
	if last := coded[len(coded)-1]; !strings.EqualFold(last, "gzip") && !strings.EqualFold(last, "x-gzip") {
		return nil
	}
	h.Del("Content-Encoding")
	if rest := coded[:len(coded)-1]; len(rest) > 0 {
		h.Set("Content-Encoding", strings.Join(rest, ", "))
	}
	h.Del("Content-Length")
	h.Del("Content-Md5")
	alterTag(h, said(w.served.filters.tag, "addsuffix"), "-gunzip")
	return filter.Gunzip
}

// substituteStep replaces in lines, as mod_substitute.
func substituteStep(w *answerWriter, code int) bodyFilter {
	s := &w.served.filters
	if len(s.replace) == 0 {
		return nil
	}
	w.Header().Del("Content-Length")
	return func(next filter.Writer) filter.Filter {
		return filter.Substitute(next, s.replace, said(s.maxLine, filter.DefaultMaxLine))
	}
}

// noteRatio writes down for the log how much was packed.
func (s *served) noteRatio(w *answerWriter) {
	p := w.packed
	if p == nil {
		return
	}
	for kind, name := range s.filters.notes {
		n := p.In
		switch kind {
		case "output":
			n = p.Out
		case "ratio":
			if p.In == 0 {
				w.visit.note(name, "-")
				continue
			}
			n = p.Out * 100 / p.In
		}
		w.visit.note(name, strconv.FormatInt(n, 10))
	}
}
