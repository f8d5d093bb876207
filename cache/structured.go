package cache

import (
	"strings"
)

// parseTargeted reads a targeted cache control field, a dictionary of structured
// fields: RFC 9213 section 2.1. ok is false when it is empty or broken anywhere:
// then it is as if it were not there.
func parseTargeted(lines []string) (d responseDirectives, ok bool) {
	s := sfParser{strings.Join(lines, ",")}
	s.skipSpace()
	if s.rest == "" {
		return d, false
	}
	members := map[string]sfItem{}
	for {
		key, item, ok := s.member()
		if !ok {
			return responseDirectives{}, false
		}
		members[key] = item
		s.skipBlank()
		if s.rest == "" {
			break
		}
		if s.rest[0] != ',' {
			return responseDirectives{}, false
		}
		s.rest = s.rest[1:]
		s.skipBlank()
		if s.rest == "" {
			return responseDirectives{}, false
		}
	}
	for key, item := range members {
		d.takeTargeted(key, item)
	}
	return d, true
}

// takeTargeted takes one member of the right type; others do not count.
func (d *responseDirectives) takeTargeted(key string, item sfItem) {
	switch item.kind {
	case sfInteger:
		if item.n >= 0 {
			n := deltaSeconds{uint32(min(item.n, maxDelta)), deltaValid}
			switch key {
			case "max-age":
				d.maxAge = n
			case "s-maxage":
				d.sMaxAge = n
			case "stale-while-revalidate":
				d.staleWhileRevalidate = n
			case "stale-if-error":
				d.staleIfError = n
			}
		}
	case sfTrue:
		d.take(key, argument{})
	case sfString:
		if key == "no-cache" || key == "private" {
			d.take(key, argument{text: item.text, kind: argQuoted})
		}
	}
}
