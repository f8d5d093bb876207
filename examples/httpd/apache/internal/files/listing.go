package files

import (
	"html"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Listing is a page of what is in a folder.
type Listing struct {
	// Path is the folder's in the URL, with its slash at the end.
	Path string

	// Ignore are patterns of names that are left out: IndexIgnore.
	Ignore []string

	// Header and Footer stand before and behind the list, in HTML; with a Header
	// the page has no title of its own. They are those of HeaderName and
	// ReadmeName.
	Header, Footer string
}

// Page returns the page. Names are those of files, folders with a slash at
// their end.
func (l *Listing) Page(names []string) string {
	var b strings.Builder
	title := "Index of " + html.EscapeString(strings.TrimSuffix(l.Path, "/"))
	if l.Path == "/" {
		title += "/"
	}
	b.WriteString("<!DOCTYPE html>\n<html>\n<head>\n<title>" + title + "</title>\n</head>\n<body>\n")
	if l.Header != "" {
		b.WriteString(l.Header)
	} else {
		b.WriteString("<h1>" + title + "</h1>\n")
	}
	b.WriteString("<ul>\n")
	if l.Path != "/" {
		b.WriteString("<li><a href=\"../\">Parent Directory</a></li>\n")
	}
	for _, name := range names {
		link := (&url.URL{Path: name}).String() // with "./" where a colon would make a scheme
		b.WriteString("<li><a href=\"" + html.EscapeString(link) + "\">" + html.EscapeString(name) + "</a></li>\n")
	}
	b.WriteString("</ul>\n" + l.Footer + "</body>\n</html>\n")
	return b.String()
}

// Names returns the names to list, in order, of those that a folder has.
func (l *Listing) Names(entries []fs.DirEntry) []string {
	var names []string
	for _, e := range entries {
		if l.ignores(e.Name()) {
			continue
		}
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (l *Listing) ignores(name string) bool {
	for _, pattern := range l.Ignore {
		if ok, err := path.Match(pattern, name); ok || err != nil && pattern == name {
			return true
		}
	}
	return false
}
