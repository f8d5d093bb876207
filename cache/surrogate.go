package cache

import (
	"net/http"
	"slices"
	"strings"
)

// maxTags is how many surrogate keys of one response are kept.
const maxTags = 1024

// surrogateKeys returns the tags of a response, sorted, each once: Surrogate-Key
// holds them between spaces, Cache-Tag between commas.
func surrogateKeys(h http.Header) (tags []string) {
	for _, line := range h["Surrogate-Key"] {
		tags = append(tags, strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })...)
	}
	for _, line := range h["Cache-Tag"] {
		for more := true; more; {
			var tag string
			tag, line, more = strings.Cut(line, ",")
			if tag = strings.Trim(tag, " \t"); tag != "" {
				tags = append(tags, tag)
			}
		}
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	return tags[:min(len(tags), maxTags)]
}
