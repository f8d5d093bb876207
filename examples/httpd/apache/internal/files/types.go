package files

import (
	"bufio"
	"io"
	"maps"
	"strings"
)

// Types are media types by the suffixes of files, in lower case and without the
// dot: the content of a TypesConfig.
type Types map[string]string

// ReadTypes reads lines "type suffix …"; "#" begins a comment.
func ReadTypes(r io.Reader) (Types, error) {
	t := make(Types)
	in := bufio.NewScanner(r)
	for in.Scan() {
		line, _, _ := strings.Cut(in.Text(), "#")
		words := strings.Fields(line)
		for i := 1; i < len(words); i++ {
			t[strings.ToLower(words[i])] = words[0]
		}
	}
	return t, in.Err()
}

// UsualTypes are those of the files that web sites have, for who has no
// TypesConfig.
func UsualTypes() Types {
	t, _ := ReadTypes(strings.NewReader(`
application/epub+zip epub
application/gzip gz
application/java-archive jar
application/json json map
application/manifest+json webmanifest
application/ogg ogx
application/pdf pdf
application/rss+xml rss
application/rtf rtf
application/vnd.ms-excel xls
application/vnd.ms-fontobject eot
application/vnd.ms-powerpoint ppt
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx
application/vnd.openxmlformats-officedocument.wordprocessingml.document docx
application/wasm wasm
application/x-bzip2 bz2
application/x-7z-compressed 7z
application/x-sh sh
application/x-tar tar
application/xhtml+xml xhtml xht
application/xml xml xsl xsd
application/zip zip
application/msword doc
application/octet-stream bin exe dll iso img deb
audio/mpeg mp3
audio/ogg oga ogg opus
audio/x-wav wav
font/otf otf
font/ttf ttf
font/woff woff
font/woff2 woff2
image/avif avif
image/bmp bmp
image/gif gif
image/jpeg jpeg jpg jpe
image/png png
image/svg+xml svg svgz
image/tiff tiff tif
image/vnd.microsoft.icon ico
image/webp webp
text/calendar ics
text/css css
text/csv csv
text/html html htm shtml
text/javascript js mjs
text/markdown md
text/plain txt text log conf asc
text/vcard vcf
video/mp4 mp4
video/mpeg mpeg mpg
video/ogg ogv
video/quicktime mov qt
video/webm webm
`))
	return t
}

// maxName is how long names of files may be.
const maxName = 255

// Meta is what the name of a file says about it.
type Meta struct {
	Type      string // with its charset; "" if nothing is known
	Languages []string
	Encodings []string
	Handler   string // of AddHandler
}

// Kind is what a rule says of a suffix.
type Kind uint8

const (
	Type     Kind = iota // AddType
	Charset              // AddCharset
	Language             // AddLanguage
	Encoding             // AddEncoding
	Handler              // AddHandler
	kinds
)

// Rules are those of AddType and its kin. The zero value has none. What Add and
// Remove return shares nothing that changes.
type Rules struct {
	// DefaultLanguage is that of files whose suffixes name none.
	DefaultLanguage string

	added   [kinds]map[string]string
	removed [kinds]map[string]bool // what an outer section says does not count
}

// suffix is how suffixes are compared.
func suffix(s string) string { return strings.ToLower(strings.TrimPrefix(s, ".")) }

// Add lets files with a suffix, with or without its dot, have a property.
func (r *Rules) Add(kind Kind, value string, suffixes ...string) {
	all := maps.Clone(r.added[kind])
	if all == nil {
		all = make(map[string]string)
	}
	for _, s := range suffixes {
		all[suffix(s)] = value
	}
	r.added[kind] = all
}

// Remove takes what outer sections say of suffixes away.
func (r *Rules) Remove(kind Kind, suffixes ...string) {
	all := maps.Clone(r.removed[kind])
	if all == nil {
		all = make(map[string]bool)
	}
	for _, s := range suffixes {
		all[suffix(s)] = true
	}
	r.removed[kind] = all
}

// Merge returns r with what inner says otherwise.
func (r Rules) Merge(inner Rules) Rules {
	if inner.DefaultLanguage != "" {
		r.DefaultLanguage = inner.DefaultLanguage
	}
	for kind := range kinds {
		if len(inner.added[kind]) == 0 && len(inner.removed[kind]) == 0 {
			continue
		}
		all := make(map[string]string, len(r.added[kind])+len(inner.added[kind]))
		for s, value := range r.added[kind] {
			if !inner.removed[kind][s] {
				all[s] = value
			}
		}
		maps.Copy(all, inner.added[kind])
		r.added[kind] = all
	}
	return r
}

// IsZero reports whether there are none.
func (r *Rules) IsZero() bool {
	for _, m := range r.added {
		if len(m) > 0 {
			return false
		}
	}
	return r.DefaultLanguage == ""
}

// Of returns what the suffixes of a file's name say. What comes before the first
// dot is none, and leading dots begin none. A name that no file can have, since it
// is too long, has no suffixes.
func (r *Rules) Of(name string, types Types) Meta {
	var m Meta
	charset := ""
	rest := ""
	if len(name) <= maxName {
		_, rest, _ = strings.Cut(strings.TrimLeft(name, "."), ".")
	}
	for rest != "" {
		var s string
		s, rest, _ = strings.Cut(rest, ".")
		s = strings.ToLower(s)
		if s == "" {
			continue
		}
		if t := r.added[Type][s]; t != "" {
			m.Type = t
		} else if t := types[s]; t != "" {
			m.Type = t
		}
		if c := r.added[Charset][s]; c != "" {
			charset = c
		}
		if l := r.added[Language][s]; l != "" {
			m.Languages = append(m.Languages, l)
		}
		if e := r.added[Encoding][s]; e != "" {
			m.Encodings = append(m.Encodings, e)
		}
		if h := r.added[Handler][s]; h != "" {
			m.Handler = h
		}
	}
	if len(m.Languages) == 0 && r.DefaultLanguage != "" {
		m.Languages = []string{r.DefaultLanguage}
	}
	if charset != "" && m.Type != "" {
		m.Type = WithCharset(m.Type, charset)
	}
	return m
}

// KnowsAll reports whether each suffix of a name says something of its file, other
// than a handler.
func (r *Rules) KnowsAll(suffixes string, types Types) bool {
	for s := range strings.SplitSeq(strings.ToLower(suffixes), ".") {
		if types[s] == "" && r.added[Type][s] == "" && r.added[Charset][s] == "" && r.added[Language][s] == "" && r.added[Encoding][s] == "" {
			return false
		}
	}
	return true
}

// WithCharset returns a media type with a charset in place of any that it has.
func WithCharset(mediaType, charset string) string {
	base, params, _ := strings.Cut(mediaType, ";")
	var b strings.Builder
	b.WriteString(strings.TrimSpace(base))
	for p := range strings.SplitSeq(params, ";") {
		if p = strings.TrimSpace(p); p != "" && !isCharset(p) {
			b.WriteString("; " + p)
		}
	}
	return b.String() + "; charset=" + charset
}

// HasCharset reports whether a media type names its charset.
func HasCharset(mediaType string) bool {
	_, params, _ := strings.Cut(mediaType, ";")
	for p := range strings.SplitSeq(params, ";") {
		if isCharset(strings.TrimSpace(p)) {
			return true
		}
	}
	return false
}

func isCharset(param string) bool {
	return len(param) > 8 && strings.EqualFold(param[:8], "charset=")
}
