package ftpproxy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// page renders a listing, piece by piece. Whatever comes from the server is
// escaped.
type page interface {
	header() http.Header
	begin(*bytes.Buffer)
	rows(*bytes.Buffer, []entry)
	end(*bytes.Buffer)
}

// place is what a page says of the directory.
type place struct {
	path    string   // to show
	links   string   // what links begin with
	up      string   // link to the directory above; empty: none
	notes   []string // what the server says of it
	charset string   // of names
	private bool
}

// newPage returns the page for a directory, in the form that the client
// prefers. The session has just changed to it.
func (x *attempt) newPage(dir string, only *pattern) page {
	p := place{path: dir, links: "./", notes: x.notes(dir), charset: cmp.Or(x.t.Charset, "UTF-8"), private: x.who.private()}
	if !strings.HasPrefix(p.path, "/") {
		p.path = "/" + p.path
	}
	if !strings.HasSuffix(p.path, "/") {
		p.path += "/"
	}
	seg := lastSegment(x.escapedClientPath())
	switch {
	case only != nil:
		p.up = "./"
	case seg != "":
		p.links, p.up = "./"+seg+"/", "./"
	default:
		p.up = "../"
	}
	if only == nil && (dir == "" || dir == "/") {
		p.up = ""
	}
	if prefersJSON(x.r.Header["Accept"]) {
		return &jsonPage{place: p}
	}
	return &htmlPage{p}
}

// notes is what the server has said on entering the directory, if it was more
// than that it is done.
func (x *attempt) notes(dir string) []string {
	lines := x.s.ctl.lines
	if dir == "" {
		lines = x.s.ctl.welcome
	} else if x.s.ctl.verb != "CWD" {
		return nil
	}
	if len(lines) < 2 {
		return nil
	}
	return append([]string(nil), lines[:len(lines)-1]...)
}

func (p *place) header() http.Header {
	h := http.Header{"Vary": {"Accept"}, "X-Content-Type-Options": {"nosniff"}}
	if p.private {
		h["Cache-Control"] = []string{"private"}
	}
	return h
}

// link returns the URL of an entry, relative to the page; empty for a name that
// could not be asked for.
func (p *place) link(e entry) string {
	if checkName(e.name) != nil {
		return ""
	}
	to := p.links + url.PathEscape(e.name)
	if e.kind == kindDirectory {
		to += "/"
	}
	return to
}

type htmlPage struct{ place }

func (p *htmlPage) header() http.Header {
	h := p.place.header()
	h["Content-Type"] = []string{"text/html; charset=" + p.charset}
	h["Content-Security-Policy"] = []string{"default-src 'none'; style-src 'unsafe-inline'"}
	return h
}

func (p *htmlPage) begin(b *bytes.Buffer) {
	title := "Index of " + showHTML(p.path)
	b.WriteString("<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"" + html.EscapeString(p.charset) + "\">\n<title>" + title + "</title>\n")
	b.WriteString("<style>td, th { padding-right: 2em; text-align: left } .size { text-align: right }</style>\n</head>\n<body>\n<h1>" + title + "</h1>\n")
	if len(p.notes) > 0 {
		b.WriteString("<pre>\n")
		for _, n := range p.notes {
			b.WriteString(showHTML(n) + "\n")
		}
		b.WriteString("</pre>\n")
	}
	b.WriteString("<table>\n<tr><th>Name</th><th class=\"size\">Size</th><th>Modified</th></tr>\n")
	if p.up != "" {
		b.WriteString("<tr><td><a href=\"" + html.EscapeString(p.up) + "\">../</a></td><td></td><td></td></tr>\n")
	}
}

func (p *htmlPage) rows(b *bytes.Buffer, list []entry) {
	for _, e := range list {
		name := showHTML(e.name)
		if e.kind == kindDirectory {
			name += "/"
		}
		if to := p.link(e); to != "" {
			name = "<a href=\"" + html.EscapeString(to) + "\">" + name + "</a>"
		}
		if e.kind == kindLink {
			name += " &rarr; " + showHTML(e.target)
		}
		size, at := "", ""
		if e.size >= 0 {
			size = strconv.FormatInt(e.size, 10)
		}
		if !e.modified.IsZero() {
			at = e.modified.UTC().Format("2006-01-02 15:04")
		}
		b.WriteString("<tr><td>" + name + "</td><td class=\"size\">" + size + "</td><td>" + at + "</td></tr>\n")
	}
}

func (p *htmlPage) end(b *bytes.Buffer) { b.WriteString("</table>\n</body>\n</html>\n") }

// showHTML escapes text of the server, whose bytes are in the charset that was
// told. Control bytes could switch the encoding of some.
func showHTML(s string) string {
	if hasControl(s) {
		s = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return '?'
			}
			return r
		}, s)
	}
	return html.EscapeString(s)
}

// jsonPage renders
//
//	{"path": "/pub/", "notes": ["…"], "entries": [
//	{"name": "a b", "href": "./a%20b", "type": "file", "size": 3, "modified": "2026-01-02T03:04:05Z"}
//	]}
//
// type is file, directory, link or other; href, size, modified, and the target
// of a link, are left out where they are not known.
type jsonPage struct {
	place
	some bool // an entry was written
}

type jsonEntry struct {
	Name     string     `json:"name"`
	Href     string     `json:"href,omitempty"`
	Type     string     `json:"type"`
	Size     *int64     `json:"size,omitempty"`
	Modified *time.Time `json:"modified,omitempty"`
	Target   string     `json:"target,omitempty"`
}

func (p *jsonPage) header() http.Header {
	h := p.place.header()
	h["Content-Type"] = []string{"application/json"}
	return h
}

func (p *jsonPage) begin(b *bytes.Buffer) {
	b.WriteString(`{"path": `)
	writeJSON(b, p.text(p.path))
	if len(p.notes) > 0 {
		notes := make([]string, len(p.notes))
		for i, n := range p.notes {
			notes[i] = p.text(n)
		}
		b.WriteString(`, "notes": `)
		writeJSON(b, notes)
	}
	b.WriteString(`, "entries": [`)
}

func (p *jsonPage) rows(b *bytes.Buffer, list []entry) {
	for _, e := range list {
		if p.some {
			b.WriteByte(',')
		}
		p.some = true
		b.WriteByte('\n')
		out := jsonEntry{Name: p.text(e.name), Href: p.link(e), Type: e.kind.String(), Target: p.text(e.target)}
		if e.size >= 0 {
			out.Size = &e.size
		}
		if !e.modified.IsZero() {
			at := e.modified.UTC()
			out.Modified = &at
		}
		writeJSON(b, out)
	}
}

func (p *jsonPage) end(b *bytes.Buffer) { b.WriteString("\n]}\n") }

// text makes UTF-8 of what the server sent. Bytes that are none become U+FFFD;
// href has them as they are.
func (p *jsonPage) text(s string) string {
	if !strings.EqualFold(p.charset, "ISO-8859-1") {
		return s
	}
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

func writeJSON(b *bytes.Buffer, v any) {
	text, err := json.Marshal(v)
	if err != nil { // a year with five digits
		text = []byte("null")
	}
	b.Write(text)
}
