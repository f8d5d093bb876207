package apache

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// edit changes h by edits in their order; pick chooses among them. Value slices
// may be shared with others, so none is changed in place. It returns the cookies
// that it has added.
func edit(h http.Header, edits []*headerEdit, r *http.Request, pick func(e *headerEdit) bool) (cookies []string) {
	v := visitOf(r)
	for _, e := range edits {
		if !pick(e) || !e.when(v, r) {
			continue
		}
		old := h[e.name]
		switch e.action {
		case "unset":
			delete(h, e.name)
		case "set":
			h[e.name] = []string{e.value.of(v, r)}
		case "setifempty":
			if len(old) == 0 {
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
		case "note":
			if len(old) > 0 {
				v.note(e.value.of(v, r), old[0])
			}
		case "echo":
			for name, values := range r.Header {
				if e.re.MatchString(name) {
					h[name] = append(h[name][:len(h[name]):len(h[name])], values...)
				}
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

// listed reports whether a value is one of lists, in which a comma within quotes
// separates nothing.
func listed(values []string, value string) bool {
	for _, v := range values {
		from, quoted := 0, false
		for i := 0; i <= len(v); i++ {
			switch {
			case i < len(v) && v[i] == '"':
				quoted = !quoted
			case i == len(v) || v[i] == ',' && !quoted:
				if strings.TrimSpace(v[from:i]) == value {
					return true
				}
				from = i + 1
			}
		}
	}
	return false
}

// replaced edits each value: the first match, or with edit* each that is found in
// what is left.
func (e *headerEdit) replaced(old []string, by string) []string {
	out := make([]string, len(old))
	for i, value := range old {
		var b strings.Builder
		for rest := value; ; {
			at := e.re.FindStringSubmatchIndex(rest)
			if at == nil {
				b.WriteString(rest)
				break
			}
			groups := make([]string, len(at)/2)
			for g := range groups {
				if at[2*g] >= 0 {
					groups[g] = rest[at[2*g]:at[2*g+1]]
				}
			}
			b.WriteString(rest[:at[0]])
			b.WriteString(substitute(by, groups))
			if rest = rest[at[1]:]; e.action == "edit" || at[1] == 0 {
				b.WriteString(rest)
				break
			}
		}
		out[i] = b.String()
	}
	return out
}

// editRequest returns r with the RequestHeader directives obeyed that are early, or
// all others.
func editRequest(r *http.Request, edits []*headerEdit, early bool) *http.Request {
	out := *r
	out.Header = make(http.Header, len(r.Header)+len(edits))
	for name, values := range r.Header {
		out.Header[name] = values
	}
	for _, e := range edits {
		if e.early == early && e.otherSpelling {
			delete(out.Header, e.name) // a client's, which the proxy would drop
		}
	}
	out.Header["Host"] = []string{r.Host}
	edit(out.Header, edits, &out, func(e *headerEdit) bool { return e.early == early })
	out.Host = strings.Join(out.Header["Host"], ", ")
	delete(out.Header, "Host")
	if out.Host != r.Host && !early { // httpd, too, takes the client's for redirects
		return exchange.WithClientHost(&out, r.Host)
	}
	return &out
}

// setsFacts reports whether e tells the backend what a proxy says about the client,
// in whatever spelling: X_FORWARDED_PROTO is X-Forwarded-Proto to much software.
func (e *headerEdit) setsFacts() bool {
	switch e.action {
	case "set", "setifempty", "add", "append", "merge":
		return exchange.IsForwardingField(plainName(e.name))
	}
	return false
}

// plainName is the name with hyphens for all that is neither a letter nor a digit.
func plainName(name string) string {
	return strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			return c
		}
		return '-'
	}, name)
}

// ownFields are the fields of RequestHeader that the proxy would take for a client's:
// what tells who that is, and other spellings of a field.
func ownFields(edits []*headerEdit) (names []string) {
	for _, e := range edits {
		if e.setsFacts() || e.name != plainName(e.name) {
			names = append(names, e.name)
		}
	}
	return names
}

// editEarly obeys what is early, before anything looks at a request. Of answers only
// what always holds is kept until there is one.
func (h *host) editEarly(r *http.Request) *http.Request {
	early := func(e *headerEdit) bool { return e.early }
	v := visitOf(r)
	if slices.ContainsFunc(h.settings.header, early) && v.page == 0 {
		edit(v.alwaysHeader(), h.settings.header, r, func(e *headerEdit) bool { return e.early && e.always })
	}
	if slices.ContainsFunc(h.settings.requestHeader, early) {
		r = editRequest(r, h.settings.requestHeader, true)
	}
	return r
}

// alwaysHeader holds the fields that an answer gets whatever becomes of the request,
// on an error page, too: httpd's err_headers_out.
func (v *visit) alwaysHeader() http.Header {
	if v.always == nil {
		v.always = make(http.Header)
	}
	return v.always
}

// editAnswer obeys the Header directives for an answer to r that is no error of this
// server, whose header is h. As in httpd, those with always know nothing of the
// fields that are there, and what they make stands beside them. Unlike there, no
// cache in ctx keeps a cookie that is added.
func editAnswer(ctx context.Context, code int, h http.Header, edits []*headerEdit, r *http.Request) {
	v := visitOf(r)
	v.answer, v.status = h, code
	if v.page != 0 && v.found.rule == nil { // a file that is the page of an error has its status
		v.status = v.page
	}
	earlier := v.vary
	v.vary = nil
	always := alwaysFields(edits, r, h, v.always.Clone())
	cookies := edit(h, edits, r, func(e *headerEdit) bool { return !e.always && !e.early })
	for _, cookie := range slices.Concat(cookies, always["Set-Cookie"]) {
		exchange.NoteOwnField(ctx, "Set-Cookie", cookie)
	}
	put(h, always)
	addVary(h, v.vary) // of conditions
	v.vary = append(earlier, v.vary...)
}

// alwaysFields returns what Header always makes of own, which may be nil. There is one
// Content-Type: that of h.
func alwaysFields(edits []*headerEdit, r *http.Request, h, own http.Header) http.Header {
	if own == nil {
		own = make(http.Header)
	}
	for _, e := range edits {
		of := own
		if e.name == "Content-Type" && e.action != "unset" {
			of = h
		}
		edit(of, []*headerEdit{e}, r, func(e *headerEdit) bool { return e.always && !e.early })
	}
	return own
}

// put adds fields in front of those of h.
func put(h, fields http.Header) {
	for name, values := range fields {
		h[name] = slices.Concat(values, h[name])
	}
}

// addAlways obeys Header always for an answer that this server makes in place of
// another: an error, or a redirect.
func addAlways(h http.Header, edits []*headerEdit, r *http.Request) {
	put(h, visitOf(r).always)
	put(h, alwaysFields(edits, r, h, nil))
}
