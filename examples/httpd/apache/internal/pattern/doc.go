// Package pattern compiles the regular expressions of Apache's directives, which
// are those of PCRE.
//
//	text ─► package regexp, if it takes it ─────────────────► Pattern
//	  └───► parser ─► nodes ─► program ─► bounded matcher ─────┘
//
// Most expressions mean the same in both languages, and package regexp matches
// them. Those with lookahead, lookbehind, backreferences, atomic groups or
// possessive quantifiers go to a matcher of this package. It backtracks, as PCRE
// does, but notes where it has failed before, so that its work is linear in the
// text for all but backreferences; with these, it gives up after a number of
// steps, which counts as no match, as in httpd.
//
// As in httpd, a dot matches a newline, and $ only the end.
package pattern
