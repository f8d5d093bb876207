package apache

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// What a host takes of a request's head, unless it is said otherwise, as in httpd.
const (
	defaultFields    = 100
	defaultFieldSize = 8190
	defaultLine      = 8190
)

// requestLimits are what a host takes of a request's head; nil is not said.
type requestLimits struct {
	fields, fieldSize, line *int // LimitRequestFields, LimitRequestFieldSize, LimitRequestLine
	methods                 *[]string
	strictHost              *bool
	keepAlive               *bool
}

// merge returns l with what inner says otherwise.
func (l requestLimits) merge(inner requestLimits) requestLimits {
	over(&l.fields, inner.fields)
	over(&l.fieldSize, inner.fieldSize)
	over(&l.line, inner.line)
	over(&l.methods, inner.methods)
	over(&l.strictHost, inner.strictHost)
	over(&l.keepAlive, inner.keepAlive)
	return l
}

// requestLimitDirectives say which requests are refused before anything is looked
// up for them, and whether their connection goes on.
func requestLimitDirectives() []directive {
	limit := func(name, note string, field func(l *requestLimits) **int) directive {
		return directive{name: name, in: anyServer, min: 1, max: 1, note: note, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			n, err := strconv.Atoi(d.Args[0])
			if err != nil || n < 0 {
				return fmt.Errorf("%q is no number", d.Args[0])
			}
			*field(&s.settings.limits) = &n
			return nil
		}}
	}
	const otherwise = "all of a head has a mebibyte at most"
	return []directive{
		limit("LimitRequestFields", "0 is no limit", func(l *requestLimits) **int { return &l.fields }),
		limit("LimitRequestFieldSize", otherwise, func(l *requestLimits) **int { return &l.fieldSize }),
		limit("LimitRequestLine", otherwise, func(l *requestLimits) **int { return &l.line }),
		{name: "StrictHostCheck", in: anyServer, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.limits.strictHost })},
		{name: "KeepAlive", in: anyServer, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.limits.keepAlive })},
		{name: "AllowMethods", in: inDirectory | inLocation | inProxy, min: 1, max: -1, note: "GET is HEAD, too", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			methods := slices.Clone(d.Args)
			if strings.EqualFold(methods[0], "reset") {
				methods = nil
			}
			s.settings.limits.methods = &methods
			return nil
		}},
	}
}

// refuses returns the status of a request that is beyond the limits of the address
// where it came in, or 0. As in httpd, those are the limits of the first host there,
// since which one is meant is among what is limited.
func (st *generation) refuses(listen string, r *http.Request) int {
	return st.first(listen, localAddr(r)).settings.limits.refuses(r)
}

// refuses returns the status of a request that is beyond the limits, or 0.
func (l *requestLimits) refuses(r *http.Request) int {
	if len(r.Method)+len(" ")+len(r.RequestURI)+len(" HTTP/1.1") > said(l.line, defaultLine)+1 { // as httpd counts
		return http.StatusRequestURITooLong
	}
	size, most := said(l.fieldSize, defaultFieldSize), said(l.fields, defaultFields)
	count := 1 // Host
	if r.Host == "" {
		count = 0
	}
	for name, values := range r.Header {
		count += len(values)
		for _, v := range values {
			if len(name)+len(": ")+len(v) > size+1 {
				return http.StatusBadRequest
			}
		}
	}
	if most > 0 && count > most {
		return http.StatusBadRequest
	}
	return 0
}

// allows reports whether AllowMethods lets a method through.
func (l *requestLimits) allows(method string) bool {
	if l.methods == nil || len(*l.methods) == 0 || slices.Contains(*l.methods, method) {
		return true
	}
	return method == http.MethodHead && slices.Contains(*l.methods, http.MethodGet)
}

// hasStrangeHost reports whether a request names no host, though it has to, or one
// that httpd refuses as HttpProtocolOptions Strict has it: a name has letters, digits,
// hyphens and underscores, no empty parts, and a last part that begins with a letter;
// numbers are four, without zeros before them.
func hasStrangeHost(r *http.Request) bool {
	if r.Host == "" {
		return r.ProtoMajor == 1 && r.ProtoMinor > 0
	}
	if strings.HasPrefix(r.Host, "[") {
		return false
	}
	name, _, _ := exchange.ParseHost(r.Host)
	name = strings.TrimSuffix(name, ".")
	if strings.Trim(name, "0123456789.") == "" {
		_, err := netip.ParseAddr(name)
		return err != nil
	}
	last := 0
	for i := 0; i < len(name); i++ {
		switch c := name[i] | 0x20; {
		case 'a' <= c && c <= 'z', '0' <= name[i] && name[i] <= '9', name[i] == '-', name[i] == '_':
		case name[i] == '.' && (i == 0 || name[i-1] != '.'):
			last = i + 1
		default:
			return true
		}
	}
	return last == len(name) || last > 0 && (name[last]|0x20 < 'a' || 'z' < name[last]|0x20)
}

// isNamed reports whether a request asks for a host by one of its names.
func (h *host) isNamed(r *http.Request) bool {
	name, _, _ := exchange.ParseHost(r.Host)
	return r.Host == "" || h.hasName(strings.TrimSuffix(strings.ToLower(name), "."))
}
