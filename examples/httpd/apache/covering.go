package apache

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// sectionList are the sections that apply to a request, in the order in which
// they are merged.
type sectionList []*scope

// appendKey appends to key what tells one combination of a rule and sections from all
// others.
func (l sectionList) appendKey(key []byte, r *rule) []byte {
	if r != nil {
		key = append(strconv.AppendInt(key, int64(r.number), 36), ':')
	}
	for _, s := range l {
		key = append(strconv.AppendInt(key, int64(s.number), 36), ' ')
	}
	return key
}

// sectionsOf returns the sections for what translation has found, as httpd merges
// them: for what is proxied those of <Proxy>, or else those of its folders and
// files; then those of its path, and <If> last. A code above 0 is an error.
func (h *host) sectionsOf(v *visit, r *http.Request) (list sectionList, code int) {
	if ru := v.found.rule; ru != nil {
		list = h.covering(v, ru, r.URL)
	} else if v.found.file != "" {
		if list, code = h.around(v); code != 0 {
			return list, code
		}
	}
	for _, l := range h.locations {
		if l.contains(v.path) {
			list = append(list, l)
			l.name(v, v.path)
		}
	}
	return h.withConditional(r, list), 0
}

// contains reports whether a <Location> applies to a path.
func (s *scope) contains(at string) bool {
	if s.pattern != nil {
		return s.pattern.MatchString(at)
	}
	return hasPrefix(at, s.path)
}

// name sets MATCH_NAME to what the group of that name fits, for each group of the
// section's expression that has one.
func (s *scope) name(v *visit, text string) {
	if s.pattern == nil || !s.pattern.Named() {
		return
	}
	names, groups := s.pattern.SubexpNames(), s.pattern.FindStringSubmatchIndex(text)
	for i, name := range names {
		if name != "" && 2*i+1 < len(groups) && groups[2*i] >= 0 {
			v.set("MATCH_"+strings.ToUpper(name), text[groups[2*i]:groups[2*i+1]])
		}
	}
}

// hasPrefix compares whole segments.
func hasPrefix(at, prefix string) bool {
	return strings.HasPrefix(at, prefix) && (strings.HasSuffix(prefix, "/") || len(at) == len(prefix) || at[len(prefix)] == '/')
}

// covering returns the <Proxy> sections for the URL that a rule leads to.
func (h *host) covering(v *visit, ru *rule, in *url.URL) sectionList {
	if len(h.proxies) == 0 {
		return nil
	}
	out, ok := ru.backendURL(v, in)
	if !ok {
		return nil // the handler will say what is wrong
	}
	// Sections are compared with the decoded path, so that no spelling of it
	// gets around them.
	to := out.Scheme + "://" + out.Host + out.Path
	if ru.socket != "" {
		return h.coveringURL(v, strings.TrimSuffix(ru.target, ru.text)+to, to)
	}
	return h.coveringURL(v, to)
}

// coveringURL is covering for a URL, in any of its spellings.
func (h *host) coveringURL(v *visit, spellings ...string) (list sectionList) {
	for _, p := range h.proxies {
		if slices.ContainsFunc(spellings, p.covers) {
			list = append(list, p)
			for _, text := range spellings {
				p.name(v, text)
			}
		}
	}
	return list
}
