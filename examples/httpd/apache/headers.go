package apache

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// headerEdit is a Header or RequestHeader.
type headerEdit struct {
	action string // in lower case
	name   string // canonical
	always bool   // Header always: for answers that this server makes, too
	value  *format
	re     *pattern.Pattern // of edit
	when   func(v *visit) bool
}

// headerDirectives are those of mod_headers.
func headerDirectives() []directive {
	const dir = anywhere
	return []directive{
		{name: "RequestHeader", in: dir, min: 2, max: 5, note: "set, setifempty, add, append, merge, unset, edit, edit*; env= as a condition", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			e, err := readHeaderEdit(d.Args)
			s.settings.requestHeader = append(s.settings.requestHeader, e)
			return err
		}},
		{name: "Header", in: dir, min: 2, max: 6, note: "as RequestHeader; onsuccess and always; a cookie that is added is not cached", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			words := d.Args
			always := strings.EqualFold(words[0], "always")
			if always || strings.EqualFold(words[0], "onsuccess") {
				words = words[1:]
			}
			e, err := readHeaderEdit(words)
			e.always = always
			s.settings.header = append(s.settings.header, e)
			return err
		}},
	}
}

// readHeaderEdit reads "action name [[expr=]value [replacement]] [env=[!]name]".
func readHeaderEdit(words []string) (*headerEdit, error) {
	e := &headerEdit{when: func(*visit) bool { return true }}
	if len(words) < 2 {
		return e, errors.New("want an action and a field")
	}
	e.action = strings.ToLower(words[0])
	name := strings.TrimSuffix(words[1], ":")
	if !httpguts.ValidHeaderFieldName(name) {
		return e, fmt.Errorf("%q is no name of a field", name)
	}
	e.name = http.CanonicalHeaderKey(name)
	switch e.name {
	case "Content-Length", "Transfer-Encoding", "Connection", "Trailer":
		return e, fmt.Errorf("%s frames the message and cannot be changed", e.name)
	}
	values := 1
	switch e.action {
	case "set", "setifempty", "add", "append", "merge":
	case "unset":
		values = 0
	case "edit", "edit*":
		values = 2
	case "echo", "note":
		return e, fmt.Errorf("action %s is not supported", e.action)
	default:
		return e, fmt.Errorf("action %q is not known", words[0])
	}
	words = words[2:]
	if len(words) < values {
		return e, fmt.Errorf("%s takes %d more argument(s)", e.action, values)
	}
	var err error
	switch values {
	case 1:
		e.value, err = parseFormat(words[0])
	case 2:
		if e.re, err = pattern.Compile(words[0]); err == nil {
			e.value, err = parseFormat(words[1])
		}
	}
	if err != nil {
		return e, err
	}
	switch rest := words[values:]; {
	case len(rest) == 0:
	case len(rest) == 1 && strings.HasPrefix(rest[0], "env="):
		e.when = variable(rest[0][len("env="):])
	case strings.EqualFold(rest[0], "early"):
		return e, errors.New("early is not supported")
	default:
		return e, fmt.Errorf("condition %q is not supported: env= is", strings.Join(rest, " "))
	}
	return e, nil
}

// variable returns whether a variable is set, or with "!" is not.
func variable(name string) func(v *visit) bool {
	name, not := strings.CutPrefix(name, "!")
	return func(v *visit) bool {
		_, set := v.env[name]
		return set != not
	}
}

// edit changes h by edits in their order; pick chooses among them. Value slices
// may be shared with others, so none is changed in place. It returns the cookies
// that it has added.
func edit(h http.Header, edits []*headerEdit, r *http.Request, pick func(e *headerEdit) bool) (cookies []string) {
	v := visitOf(r)
	for _, e := range edits {
		if !pick(e) || !e.when(v) {
			continue
		}
		old := h[e.name]
		switch e.action {
		case "unset":
			delete(h, e.name)
		case "set":
			h[e.name] = []string{e.value.of(v, r)}
		case "setifempty":
			if len(old) == 0 || len(old) == 1 && old[0] == "" {
				h[e.name] = []string{e.value.of(v, r)}
			}
		case "add":
			h[e.name] = append(old[:len(old):len(old)], e.value.of(v, r))
		case "append":
			h[e.name] = joined(old, e.value.of(v, r))
		case "merge":
			if value := e.value.of(v, r); !listed(old, value) {
				h[e.name] = joined(old, value)
			}
		case "edit", "edit*":
			if len(old) > 0 {
				h[e.name] = e.replaced(old, e.value.of(v, r))
			}
		}
		if e.name == "Set-Cookie" && len(h[e.name]) > len(old) {
			cookies = append(cookies, h[e.name][len(old)])
		}
	}
	return cookies
}

// joined puts a value behind the others of a list.
func joined(old []string, value string) []string {
	if len(old) == 0 {
		return []string{value}
	}
	return []string{strings.Join(old, ", ") + ", " + value}
}

func listed(values []string, value string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.TrimSpace(part) == value {
				return true
			}
		}
	}
	return false
}

// replaced edits each value: the first match, or with edit* all.
func (e *headerEdit) replaced(old []string, by string) []string {
	out := make([]string, len(old))
	for i, value := range old {
		limit := 1
		if e.action == "edit*" {
			limit = -1
		}
		var b strings.Builder
		from := 0
		for _, at := range e.re.FindAllStringSubmatchIndex(value, limit) {
			groups := make([]string, len(at)/2)
			for g := range groups {
				if at[2*g] >= 0 {
					groups[g] = value[at[2*g]:at[2*g+1]]
				}
			}
			b.WriteString(value[from:at[0]])
			b.WriteString(substitute(by, groups))
			from = at[1]
		}
		out[i] = b.String() + value[from:]
	}
	return out
}

// editRequest returns r with the RequestHeader directives obeyed.
func editRequest(r *http.Request, edits []*headerEdit) *http.Request {
	out := *r
	out.Header = make(http.Header, len(r.Header)+len(edits))
	for name, values := range r.Header {
		out.Header[name] = values
	}
	out.Header["Host"] = []string{r.Host}
	edit(out.Header, edits, r, func(*headerEdit) bool { return true })
	out.Host = strings.Join(out.Header["Host"], ", ")
	delete(out.Header, "Host")
	return &out
}

// editAnswer obeys the Header directives for an answer of the backend. As in
// httpd, those with always know nothing of the backend's fields, and what they
// make stands beside them. Unlike there, no cache keeps a cookie that is added.
func editAnswer(resp *http.Response, edits []*headerEdit, r *http.Request) {
	v := visitOf(r)
	v.answer, v.status = resp.Header, resp.StatusCode
	cookies := edit(resp.Header, edits, r, func(e *headerEdit) bool { return !e.always })
	cookies = append(cookies, addAlways(resp.Header, edits, r)...)
	for _, cookie := range cookies {
		exchange.NoteOwnField(resp.Request.Context(), "Set-Cookie", cookie)
	}
}

// addAlways adds what Header always makes, and returns the cookies of it.
func addAlways(h http.Header, edits []*headerEdit, r *http.Request) (cookies []string) {
	own := make(http.Header)
	edit(own, edits, r, func(e *headerEdit) bool { return e.always })
	for name, values := range own {
		h[name] = append(h[name][:len(h[name]):len(h[name])], values...)
	}
	return own["Set-Cookie"]
}

// edited returns a writer that obeys the Header directives for a page of this
// server's own.
func (s *served) edited(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	if len(s.header) == 0 {
		return w
	}
	return &editedWriter{ResponseWriter: w, edit: func() { editAnswer(&http.Response{Header: w.Header(), Request: r}, s.header, r) }}
}

type editedWriter struct {
	http.ResponseWriter
	edit func()
	once sync.Once
}

func (w *editedWriter) WriteHeader(code int) {
	w.once.Do(w.edit)
	w.ResponseWriter.WriteHeader(code)
}

func (w *editedWriter) Write(b []byte) (int, error) {
	w.once.Do(w.edit)
	return w.ResponseWriter.Write(b)
}

func (w *editedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
