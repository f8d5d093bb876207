package rfc9111

import (
	"net/http"
	"slices"
	"strings"
)

// maxTags is how many surrogate keys of one response are kept.
const maxTags = 1024

// Carries reports whether a response with some tags, as surrogateKeys returned
// them, has one of those that are purged.
func Carries(tags, purged []string) bool {
	return len(tags) > 0 && slices.ContainsFunc(purged, func(tag string) bool {
		_, found := slices.BinarySearch(tags, tag)
		return found
	})
}

// SurrogateKeys returns the tags of a response, sorted, each once: Surrogate-Key
// holds them between spaces, Cache-Tag between commas.
func SurrogateKeys(h http.Header) (tags []string) {
	for _, line := range h["Surrogate-Key"] {
		tags = append(tags, strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })...)
	}
	for _, line := range h["Cache-Tag"] {
		for tag := range strings.SplitSeq(line, ",") {
			if tag = strings.Trim(tag, " \t"); tag != "" {
				tags = append(tags, tag)
			}
		}
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	return tags[:min(len(tags), maxTags)]
}
