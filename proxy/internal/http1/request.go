package http1

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// Framing is how the body of a message is delimited.
type Framing uint8

const (
	FramingNone Framing = iota
	FramingLength
	FramingChunked
	FramingClose
)

// RequestFraming returns how the body of r is sent. That of CONNECT has no framing:
// it is what goes through the tunnel.
func RequestFraming(r *http.Request) Framing {
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return FramingNone
	case r.ContentLength > 0:
		return FramingLength
	case r.Method == http.MethodConnect:
		return FramingClose
	}
	return FramingChunked
}

// HeadOptions are what the head of a request says beyond the request itself.
type HeadOptions struct {
	Close  bool // ask the backend to close the connection
	Keep   bool // ask the backend to keep it, and to tell how long
	Expect bool // add Expect: 100-continue
}

// AppendRequestHead appends the head of r, which has passed [exchange.CheckRequest], with its
// final empty line.
func AppendRequestHead(b []byte, r *http.Request, f Framing, opt HeadOptions) []byte {
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	b = append(b, method...)
	b = append(b, ' ')
	b = appendTarget(b, r)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	host, _ := exchange.OutgoingHost(r)
	b = append(b, host...)
	b = append(b, "\r\n"...)
	te := false
	for name, values := range r.Header {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Connection":
			continue // ours to say
		case "User-Agent":
			if len(values) == 1 && values[0] == "" {
				continue // how net/http says: send none
			}
		case "Te":
			te = len(values) > 0
		}
		for _, v := range values {
			b = AppendField(b, name, v)
		}
	}
	if v := URLCredentials(r); v != "" {
		b = AppendField(b, "Authorization", v)
	}
	if opt.Expect {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	switch f {
	case FramingLength:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, r.ContentLength, 10)
		b = append(b, "\r\n"...)
	case FramingChunked:
		if names := trailerNames(r.Trailer); len(names) > 0 {
			b = AppendField(b, "Trailer", strings.Join(names, ", "))
		}
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case FramingNone:
		if method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch {
			b = append(b, "Content-Length: 0\r\n"...)
		}
	}
	return append(appendConnection(b, r.Header, te, opt), "\r\n"...)
}

// URLCredentials returns the Authorization that the URL of r stands for, or "" if it
// names nobody, or the request has one.
func URLCredentials(r *http.Request) string {
	u := r.URL.User
	if u == nil || r.Header["Authorization"] != nil {
		return ""
	}
	password, _ := u.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password))
}

// appendConnection appends the Connection field: the options that the request
// has, and what is ours to say beside them. A request to switch protocols does
// not ask for the connection's end, even if it is not used again: the two
// contradict each other.
func appendConnection(b []byte, h http.Header, te bool, opt HeadOptions) []byte {
	start := len(b)
	b = append(b, "Connection: "...)
	first := len(b)
	add := func(option string) {
		if len(b) > first {
			b = append(b, ", "...)
		}
		b = append(b, option...)
	}
	given := h["Connection"]
	has := func(option string) bool { return httpguts.HeaderValuesContainsToken(given, option) }
	for _, v := range given {
		if v != "" {
			add(v)
		}
	}
	if te && !has("TE") { // RFC 9110 section 10.1.4
		add("TE")
	}
	switch {
	case opt.Close && exchange.UpgradeOf(h) == "":
		if !has("close") {
			add("close")
		}
	case opt.Keep && len(given) == 0:
		add("keep-alive")
	}
	if len(b) == first {
		return b[:start]
	}
	return append(b, "\r\n"...)
}

// appendTarget appends the target: in origin-form, or for CONNECT in
// authority-form, unless the URL has a path. The raw form of the path is kept where
// the URL has one.
func appendTarget(b []byte, r *http.Request) []byte {
	u := r.URL
	if r.Method == http.MethodConnect && u.Path == "" && u.Opaque == "" {
		host, _ := exchange.OutgoingHost(r)
		return append(b, host...)
	}
	if u.Opaque != "" {
		if strings.HasPrefix(u.Opaque, "//") {
			b = append(append(b, u.Scheme...), ':')
		}
		b = append(b, u.Opaque...)
	} else {
		path := u.EscapedPath()
		if path == "" || path[0] != '/' && path != "*" {
			b = append(b, '/')
		}
		b = append(b, path...)
	}
	if u.ForceQuery || u.RawQuery != "" {
		b = append(b, '?')
		b = append(b, u.RawQuery...)
	}
	return b
}

func AppendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// trailerNames returns the names of the trailer fields, sorted.
func trailerNames(h http.Header) []string {
	names := make([]string, 0, len(h))
	for name := range h {
		if syntax.IsToken(name) && !exchange.ForbiddenTrailer(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// AppendTrailer appends the trailer fields, without the final empty line.
func AppendTrailer(b []byte, h http.Header) []byte {
	for _, name := range trailerNames(h) {
		for _, v := range h[name] {
			if syntax.ValidValue(v) {
				b = AppendField(b, name, v)
			}
		}
	}
	return b
}
