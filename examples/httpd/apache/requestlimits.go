package apache

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// requestLimits are what a host takes of a request's head; nil is not said, and
// then net/http's bound for all of a head counts alone.
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
	const otherwise = "without it, a head may have a mebibyte"
	return []directive{
		limit("LimitRequestFields", "0 is no limit; "+otherwise, func(l *requestLimits) **int { return &l.fields }),
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

// ofHeads reports whether heads of requests have limits.
func (l *requestLimits) ofHeads() bool {
	return l.line != nil || l.fields != nil || l.fieldSize != nil
}

// refuses returns the status of a request that is beyond the limits of the address
// where it came in, or 0. As in httpd, those are the limits of the first host there,
// since which one is meant is among what is limited.
func (st *generation) refuses(listen string, r *http.Request) int {
	unnamed := *r
	unnamed.Host = ""
	return st.host(listen, &unnamed).settings.limits.refuses(r)
}

// refuses returns the status of a request that is beyond the limits, or 0.
func (l *requestLimits) refuses(r *http.Request) int {
	if l.line != nil && len(r.Method)+len(" ")+len(r.RequestURI)+len(" HTTP/1.1") > *l.line+1 { // as httpd counts
		return http.StatusRequestURITooLong
	}
	if l.fields == nil && l.fieldSize == nil {
		return 0
	}
	count := 1 // Host
	if r.Host == "" {
		count = 0
	}
	for name, values := range r.Header {
		count += len(values)
		for _, v := range values {
			if l.fieldSize != nil && len(name)+len(": ")+len(v) > *l.fieldSize+1 {
				return http.StatusBadRequest
			}
		}
	}
	if l.fields != nil && *l.fields > 0 && count > *l.fields {
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

// isNamed reports whether a request asks for a host by one of its names.
func (h *host) isNamed(r *http.Request) bool {
	name, _, _ := exchange.ParseHost(r.Host)
	return r.Host == "" || h.hasName(strings.TrimSuffix(strings.ToLower(name), "."))
}
