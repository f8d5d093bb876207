package accesslog

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/clientaddr"
)

// logItemFor returns what writes a directive.
func logItemFor(directive, arg string) (logItem, error) {
	switch directive {
	case "h", "a":
		if arg == "c" {
			return func(b []byte, e *logEntry) []byte { return appendHost(b, exchange.FactsOf(e.r, nil).Peer) }, nil
		}
		return func(b []byte, e *logEntry) []byte { return appendHost(b, e.record.Client) }, nil
	case "A":
		return func(b []byte, e *logEntry) []byte {
			if a := clientaddr.Local(e.r.Context()); a != nil {
				return appendHost(b, a.String())
			}
			return append(b, '-')
		}, nil
	case "l":
		return func(b []byte, _ *logEntry) []byte { return append(b, '-') }, nil
	case "u":
		return textItem(func(e *logEntry) string { return e.record.User }), nil
	case "t":
		return timeItem(arg), nil
	case "r":
		return func(b []byte, e *logEntry) []byte {
			b = appendLogText(b, e.r.Method)
			b = append(b, ' ')
			b = appendLogText(b, requestTarget(e.r))
			b = append(b, ' ')
			return appendLogText(b, e.r.Proto)
		}, nil
	case "m":
		return textItem(func(e *logEntry) string { return e.r.Method }), nil
	case "U":
		return textItem(func(e *logEntry) string { return e.r.URL.Path }), nil
	case "q":
		return func(b []byte, e *logEntry) []byte {
			if e.r.URL.RawQuery == "" {
				return b
			}
			return appendLogText(append(b, '?'), e.r.URL.RawQuery)
		}, nil
	case "H":
		return textItem(func(e *logEntry) string { return e.r.Proto }), nil
	case "s":
		return numberItem(func(e *logEntry) int64 { return int64(e.status) }), nil
	case "b":
		return func(b []byte, e *logEntry) []byte {
			if e.w.Sent == 0 {
				return append(b, '-')
			}
			return strconv.AppendInt(b, e.w.Sent, 10)
		}, nil
	case "B":
		return numberItem(func(e *logEntry) int64 { return e.w.Sent }), nil
	case "I":
		return numberItem(received), nil
	case "O":
		return numberItem(sent), nil
	case "S":
		return numberItem(func(e *logEntry) int64 { return received(e) + sent(e) }), nil
	case "i":
		if strings.EqualFold(arg, "Host") {
			return textItem(func(e *logEntry) string { return e.r.Host }), nil
		}
		return fieldItem(arg, func(e *logEntry) http.Header { return e.r.Header }), nil
	case "^ti":
		return fieldItem(arg, func(e *logEntry) http.Header { return e.r.Trailer }), nil
	case "o":
		item := fieldItem(arg, func(e *logEntry) http.Header { return e.w.Header() })
		if !strings.EqualFold(arg, "Content-Type") {
			return item, nil
		}
		return textItem(func(e *logEntry) string {
			kind, _, _ := strings.Cut(e.w.Header().Get("Content-Type"), ";")
			return strings.TrimRight(kind, " \t")
		}), nil
	case "^to":
		late := fieldItem(http.TrailerPrefix+http.CanonicalHeaderKey(arg), func(e *logEntry) http.Header { return e.w.Header() })
		announced := fieldItem(arg, func(e *logEntry) http.Header { return e.w.Header() })
		return func(b []byte, e *logEntry) []byte {
			if _, ok := e.w.Header()[http.TrailerPrefix+http.CanonicalHeaderKey(arg)]; ok {
				return late(b, e)
			}
			for _, names := range e.w.Header()["Trailer"] {
				for name := range strings.SplitSeq(names, ",") {
					if strings.EqualFold(strings.TrimSpace(name), arg) {
						return announced(b, e)
					}
				}
			}
			return append(b, '-')
		}, nil
	case "C":
		return func(b []byte, e *logEntry) []byte {
			value, ok := cookie(e.r, arg)
			if !ok {
				return append(b, '-')
			}
			return appendLogText(b, value)
		}, nil
	case "n", "e":
		return lookupItem(directive, arg, func(e *logEntry) string { return note(e.record, arg) }), nil
	case "v", "V":
		return lookupItem(directive, arg, func(e *logEntry) string {
			if name, _, err := exchange.ParseHost(e.r.Host); err == nil {
				return name
			}
			return e.r.Host
		}), nil
	case "p":
		return portItem(arg), nil
	case "P":
		return processItem(arg), nil
	case "D":
		return durationItem("us"), nil
	case "T":
		return durationItem(arg), nil
	case "^FB":
		return lookupItem(directive, arg, func(e *logEntry) string {
			if e.record.FirstByte == 0 {
				return ""
			}
			return strconv.FormatInt(e.record.FirstByte.Microseconds(), 10)
		}), nil
	case "X":
		return func(b []byte, e *logEntry) []byte { return append(b, connectionState(e)) }, nil
	case "c", "f", "k", "L", "R", "x":
		return lookupItem(directive, arg, func(*logEntry) string { return "" }), nil
	}
	return nil, fmt.Errorf("accesslog: %%%s is not known", directive)
}

// textItem writes text from outside, or "-" for none.
func textItem(text func(e *logEntry) string) logItem {
	return func(b []byte, e *logEntry) []byte {
		s := text(e)
		if s == "" {
			return append(b, '-')
		}
		return appendLogText(b, s)
	}
}

func numberItem(of func(e *logEntry) int64) logItem {
	return func(b []byte, e *logEntry) []byte { return strconv.AppendInt(b, of(e), 10) }
}

// lookupItem writes what the Handler's Lookup says, or else text.
func lookupItem(directive, arg string, text func(e *logEntry) string) logItem {
	otherwise := textItem(text)
	return func(b []byte, e *logEntry) []byte {
		if e.log.Lookup != nil {
			if value, ok := e.log.Lookup(e.r, directive, arg); ok {
				return appendLogText(b, value)
			}
		}
		return otherwise(b, e)
	}
}

// fieldItem writes the values of a field, or "-" if it is not there; one that is
// there and empty has no text, as in httpd.
func fieldItem(name string, of func(e *logEntry) http.Header) logItem {
	name = http.CanonicalHeaderKey(name)
	return func(b []byte, e *logEntry) []byte {
		values, ok := of(e)[name]
		if !ok {
			return append(b, '-')
		}
		for i, v := range values {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendLogText(b, v)
		}
		return b
	}
}

// cookie returns the value of a cookie as it was sent. As in httpd, the case of its
// name does not matter, and one without a value is none.
func cookie(r *http.Request, name string) (string, bool) {
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			n, value, ok := strings.Cut(pair, "=")
			if ok && value != "" && strings.EqualFold(strings.TrimSpace(n), name) {
				return strings.TrimSpace(value), true
			}
		}
	}
	return "", false
}

// received is about how many bytes the request had: it is put together again from
// what net/http has made of it.
func received(e *logEntry) int64 {
	r := e.r
	n := len(r.Method) + len(requestURI(r)) + len(r.Proto) + len("  \r\n") + fieldBytes(r.Header)
	if r.Host != "" && r.Header["Host"] == nil {
		n += len("Host: \r\n") + len(r.Host)
	}
	for _, coding := range r.TransferEncoding {
		n += len("Transfer-Encoding: \r\n") + len(coding)
	}
	return int64(n) + e.record.RequestBytes
}

// sent is about how many bytes the answer had: it is without what frames chunks.
func sent(e *logEntry) int64 {
	if e.w.Hijacked || e.status == exchange.StatusClientClosedRequest && e.w.Sent == 0 {
		return e.w.Sent
	}
	h := e.w.Header()
	n := len("HTTP/1.1 200 \r\n") + len(http.StatusText(e.status)) + fieldBytes(h)
	if _, ok := h["Date"]; !ok {
		n += len("Date: " + http.TimeFormat + "\r\n")
	}
	switch _, ok := h["Content-Length"]; {
	case ok || e.status == http.StatusNoContent || e.status == http.StatusNotModified:
	case e.w.Sent <= 2048: // net/http counts what is short
		n += len("Content-Length: \r\n") + len(strconv.FormatInt(e.w.Sent, 10))
	default:
		n += len("Transfer-Encoding: chunked\r\n") + len("0\r\n\r\n")
	}
	return int64(n) + e.w.Sent
}

// fieldBytes is how long fields are, with the line that ends them.
func fieldBytes(h http.Header) int {
	n := len("\r\n")
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(": \r\n") + len(v)
		}
	}
	return n
}

func connectionState(e *logEntry) byte {
	switch {
	case e.cut:
		return 'X'
	case e.w.Hijacked || e.r.Close || !e.r.ProtoAtLeast(1, 1) || e.w.Header().Get("Connection") == "close":
		return '-'
	}
	return '+'
}

// requestTarget is what stood in the request line, but for a password.
func requestTarget(r *http.Request) string {
	return withoutPassword(requestURI(r))
}

func requestURI(r *http.Request) string {
	if r.RequestURI != "" {
		return r.RequestURI
	}
	return r.URL.RequestURI()
}

// withoutPassword covers the password in the authority of a target, as httpd
// does.
func withoutPassword(target string) string {
	if strings.HasPrefix(target, "/") {
		return target
	}
	start := 0 // CONNECT names an authority alone
	if i := strings.Index(target, "://"); i >= 0 {
		start = i + len("://")
	}
	rest := target[start:]
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if at < 0 {
		return target
	}
	user, _, secret := strings.Cut(rest[:at], ":")
	if !secret {
		return target
	}
	return target[:start] + user + ":XXXXXX" + rest[at:]
}

func appendHost(b []byte, addr string) []byte {
	host, ok := clientaddr.Host(addr)
	if !ok {
		host = "-"
	}
	return appendLogText(b, host)
}

// portItem writes a port. A kind that is none stands for itself, as in httpd.
func portItem(arg string) logItem {
	port := func(addr string) string {
		_, p, _ := net.SplitHostPort(addr)
		return p
	}
	local := func(e *logEntry) string {
		if a := clientaddr.Local(e.r.Context()); a != nil {
			return port(a.String())
		}
		return ""
	}
	switch arg {
	case "remote":
		return textItem(func(e *logEntry) string { return port(e.record.Client) })
	case "local":
		return textItem(local)
	case "", "canonical":
		return lookupItem("p", arg, local)
	}
	return textItem(func(*logEntry) string { return arg })
}

// processItem writes the number of the process; a kind that is none stands for
// itself, as in httpd.
func processItem(arg string) logItem {
	text := strconv.Itoa(os.Getpid())
	switch arg {
	case "", "pid", "tid":
	case "hextid":
		text = strconv.FormatInt(int64(os.Getpid()), 16)
	default:
		text = arg
	}
	return textItem(func(*logEntry) string { return text })
}
