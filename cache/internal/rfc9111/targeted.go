package rfc9111

import (
	"strconv"
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
		if !d.takeTargeted(key, item) {
			return responseDirectives{}, false
		}
	}
	return d, true
}

// takeTargeted takes one member. It reports whether a directive that is known
// here has the type that it must have; if not, nothing of the field is believed.
func (d *responseDirectives) takeTargeted(key string, item sfItem) bool {
	switch key {
	case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
		if item.kind != sfInteger {
			return false
		}
		// One below zero is a number, but none of seconds: broken, thus stale.
		d.take(key, argument{text: strconv.FormatInt(item.n, 10), kind: argToken})
	case "no-cache", "private":
		if item.kind == sfString {
			d.take(key, argument{text: item.text, kind: argQuoted})
			return true
		}
		fallthrough
	case "no-store", "no-transform", "must-revalidate", "proxy-revalidate", "must-understand", "public", "immutable":
		switch item.kind {
		case sfTrue:
			d.take(key, argument{})
		case sfFalse:
		default:
			return false
		}
	}
	return true
}
