package apache

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// expiry is when an answer is no longer fresh: a time after it was asked for, or
// after its file was changed.
type expiry struct {
	after    time.Duration
	modified bool
}

// expirySettings are those of mod_expires.
type expirySettings struct {
	active    *bool
	otherwise *expiry
	byType    map[string]expiry // "text/css", "text/*"
}

func (s expirySettings) merge(inner expirySettings) expirySettings {
	over(&s.active, inner.active)
	over(&s.otherwise, inner.otherwise)
	if len(inner.byType) > 0 {
		all := make(map[string]expiry, len(s.byType)+len(inner.byType))
		for _, m := range []map[string]expiry{s.byType, inner.byType} {
			for kind, e := range m {
				all[kind] = e
			}
		}
		s.byType = all
	}
	return s
}

// expiresDirectives are those of mod_expires.
func expiresDirectives() []directive {
	return []directive{
		{name: "ExpiresActive", in: anywhere, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.files.expires.active })},
		{name: "ExpiresDefault", in: anywhere, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			e, err := parseExpiry(d.Args[0])
			s.settings.files.expires.otherwise = &e
			return err
		}},
		{name: "ExpiresByType", in: anywhere, min: 2, max: 2, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			e, err := parseExpiry(d.Args[1])
			if s.settings.files.expires.byType == nil {
				s.settings.files.expires.byType = make(map[string]expiry)
			}
			s.settings.files.expires.byType[strings.ToLower(d.Args[0])] = e
			return err
		}},
	}
}

// maxExpiry bounds what times add up to, so that they stay times.
const maxExpiry = 200 * 365 * 24 * time.Hour

// parseExpiry reads "A3600", "M3600", or "access plus 1 month 2 days", where a
// word may be as short as httpd lets it be.
func parseExpiry(text string) (expiry, error) {
	var e expiry
	words := strings.Fields(strings.ToLower(text))
	if len(words) == 0 {
		return e, errors.New("want a time")
	}
	base := words[0]
	if len(words) == 1 && len(base) > 1 && (base[0] == 'a' || base[0] == 'm') && '0' <= base[1] && base[1] <= '9' {
		n, err := strconv.ParseUint(strings.TrimSpace(base[1:]), 10, 32)
		if err != nil {
			return e, fmt.Errorf("%q is no number of seconds", base[1:])
		}
		return expiry{min(time.Duration(n)*time.Second, maxExpiry), base[0] == 'm'}, nil
	}
	switch base[0] {
	case 'a', 'n':
	case 'm':
		e.modified = true
	default:
		return e, fmt.Errorf("%q is none of access, now and modification", base)
	}
	words = words[1:]
	if len(words) > 0 && words[0][0] == 'p' {
		words = words[1:]
	}
	for ; len(words) > 0; words = words[2:] {
		n, err := strconv.ParseUint(words[0], 10, 32)
		if err != nil {
			return e, fmt.Errorf("%q is no number", words[0])
		}
		if len(words) == 1 {
			return e, fmt.Errorf("%d has no unit", n)
		}
		unit, err := expiryUnit(words[1])
		if err != nil {
			return e, err
		}
		if time.Duration(n) > maxExpiry/unit {
			n = uint64(maxExpiry / unit)
		}
		e.after = min(e.after+time.Duration(n)*unit, maxExpiry)
	}
	return e, nil
}

func expiryUnit(word string) (time.Duration, error) {
	const day = 24 * time.Hour
	switch {
	case word[0] == 'y':
		return 365 * day, nil
	case strings.HasPrefix(word, "mo"):
		return 30 * day, nil
	case word[0] == 'w':
		return 7 * day, nil
	case word[0] == 'd':
		return day, nil
	case word[0] == 'h':
		return time.Hour, nil
	case strings.HasPrefix(word, "mi"):
		return time.Minute, nil
	case word[0] == 's':
		return time.Second, nil
	}
	return 0, fmt.Errorf("%q is no unit of time", word)
}

// apply adds Expires and Cache-Control to an answer that is no error and has no
// Expires of its own. kind is its media type; changed is when its file was, and zero without one.
func (s *expirySettings) apply(h http.Header, kind string, code int, changed time.Time) {
	if !said(s.active, false) || s.otherwise == nil && len(s.byType) == 0 || code >= 400 || code < 200 || h["Expires"] != nil {
		return
	}
	kind, _, _ = strings.Cut(kind, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	e, ok := s.byType[kind]
	if major, _, slash := strings.Cut(kind, "/"); !ok && slash {
		e, ok = s.byType[major+"/*"]
	}
	if !ok {
		if s.otherwise == nil {
			return
		}
		e = *s.otherwise
	}
	now := time.Now()
	at := now.Add(e.after)
	if e.modified {
		if changed.IsZero() {
			return
		}
		at = changed.Add(e.after)
	}
	left := max(at.Sub(now), 0)
	age := "max-age=" + strconv.FormatInt(int64(left/time.Second), 10)
	if old := h["Cache-Control"]; len(old) > 0 {
		if !listed(old, age) {
			h["Cache-Control"] = joined(old, age)
		}
	} else {
		h["Cache-Control"] = []string{age}
	}
	h["Expires"] = []string{now.Add(left).UTC().Format(http.TimeFormat)}
}
