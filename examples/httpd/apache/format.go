package apache

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// format is the value of a Header directive: text with what differs from
// request to request.
type format struct {
	items []func(v *visit, r *http.Request) string
}

// of returns the value for a request.
func (f *format) of(v *visit, r *http.Request) string {
	var s string
	if len(f.items) == 1 {
		s = f.items[0](v, r)
	} else {
		var b strings.Builder
		for _, item := range f.items {
			b.WriteString(item(v, r))
		}
		s = b.String()
	}
	return fieldValue(s)
}

// fieldValue returns what may stand in a field: a blank for all else.
func fieldValue(s string) string {
	if httpguts.ValidHeaderFieldValue(s) {
		return s
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\t' || c == 0x7f {
			return ' '
		}
		return c
	}, s)
}

func (f *format) text(s string) {
	if s != "" {
		f.items = append(f.items, func(*visit, *http.Request) string { return s })
	}
}

// parseFormat reads a value of Header: %t, %D, %{NAME}e, %{HTTPS}s, %%; or an
// expression "expr=…", text in which variables stand.
func parseFormat(text string) (*format, error) {
	f := &format{}
	if text, ok := strings.CutPrefix(text, "expr="); ok {
		p, err := parsePhrase(text)
		if err != nil {
			return nil, err
		}
		f.items = append(f.items, p.of)
		return f, nil
	}
	for rest := text; ; {
		before, after, found := strings.Cut(rest, "%")
		f.text(before)
		if !found {
			return f, nil
		}
		switch {
		case strings.HasPrefix(after, "%"):
			f.text("%")
			rest = after[1:]
		case strings.HasPrefix(after, "t"):
			f.items = append(f.items, func(*visit, *http.Request) string { return "t=" + strconv.FormatInt(time.Now().UnixMicro(), 10) })
			rest = after[1:]
		case strings.HasPrefix(after, "{"):
			name, tail, ok := strings.Cut(after[1:], "}")
			if !ok {
				return nil, fmt.Errorf("%q: no closing brace", text)
			}
			item, n, err := formatItem(name, tail)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", text, err)
			}
			f.items = append(f.items, item)
			rest = tail[n:]
		default:
			return nil, fmt.Errorf("%q: only %%t, %%{NAME}e, %%{HTTPS}s and %%%% are supported after a percent sign", text)
		}
	}
}

// formatItem returns what %{name} stands for, and how much of the tail belongs
// to it.
func formatItem(name, tail string) (func(v *visit, r *http.Request) string, int, error) {
	switch {
	case strings.HasPrefix(tail, "e"):
		return func(v *visit, _ *http.Request) string {
			if value, ok := v.env[name]; ok {
				return value
			}
			return "(null)"
		}, 1, nil
	case strings.HasPrefix(tail, "s") && name == "HTTPS":
		return func(_ *visit, r *http.Request) string {
			if r.TLS != nil {
				return "on"
			}
			return "(null)"
		}, 1, nil
	}
	return nil, 0, fmt.Errorf("%%{%s} must be followed by e; of TLS only %%{HTTPS}s is known", name)
}

// schemeOf is the scheme by which clients know the host: that of ServerName, if it
// says https, or else the connection's.
func (h *host) schemeOf(r *http.Request) string {
	if r.TLS != nil || h.canonical != nil && h.canonical.Scheme == "https" {
		return "https"
	}
	return "http"
}

// serverName is the name of the server in a request: with UseCanonicalName On, that
// of ServerName.
func (v *visit) serverName(r *http.Request) string {
	host := r.Host
	if v.served != nil && v.host.canonical != nil && said(v.served.canonicalName, false) {
		host = v.host.canonical.Host
	}
	name, _, _ := exchange.ParseHost(host)
	return name
}
