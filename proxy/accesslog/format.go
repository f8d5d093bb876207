package accesslog

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/clientaddr"
)

// Format is a compiled format of a [Handler].
//
//	%h %a       address of the client     %{c}a  of the peer, before RemoteIP
//	%A          local address             %l     "-"
//	%u          user                      %t     time, as [02/Jan/2006:15:04:05 -0700]
//	%{f}t       time by strftime, or sec, msec, usec, msec_frac, usec_frac; begin: or end: before it
//	%r %m %U %q request line, method, path, query with its "?"
//	%H %s %>s   protocol, status          %b %B  bytes of the body, "-" or 0 for none
//	%O          bytes of the body         %D %T  duration in µs, s; %{us,ms,s}T
//	%{name}i    field of the request      %{name}o  of the answer    %{name}C  cookie
//	%{name}n    note                      %{name}e  note
//	%v %V       host of the request       %p     port; %{local}p, %{remote}p
//	%X          "X" if the answer broke off, "+" if the connection may stay, "-" if not
//	%%          a percent sign
//
// Notes that are known of themselves tell of the request's [exchange.Record]: backend,
// member, attempts, reused (1 or 0), backend-status, cache-status, not-stored,
// request-bytes, error, and in µs acquire, connect, connected and first-byte.
//
// "%400,501{Referer}i" gives "-" unless the status is listed, "%!200{…}i" if
// it is.
type Format struct{ items []logItem }

type logItem func(b []byte, e *logEntry) []byte

// ParseFormat compiles a format. \n, \t, \" and \\ stand for what they mean
// in Go.
func ParseFormat(format string) (*Format, error) {
	f := &Format{}
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			s := text.String()
			f.items = append(f.items, func(b []byte, _ *logEntry) []byte { return append(b, s...) })
			text.Reset()
		}
	}
	for i := 0; i < len(format); i++ {
		switch c := format[i]; {
		case c == '\\' && i+1 < len(format):
			i++
			switch format[i] {
			case 'n':
				text.WriteByte('\n')
			case 't':
				text.WriteByte('\t')
			default:
				text.WriteByte(format[i])
			}
		case c != '%':
			text.WriteByte(c)
		case strings.HasPrefix(format[i:], "%%"):
			i++
			text.WriteByte('%')
		default:
			flush()
			item, n, err := parseLogItem(format[i+1:])
			if err != nil {
				return nil, err
			}
			f.items = append(f.items, item)
			i += n
		}
	}
	flush()
	return f, nil
}

func (f *Format) append(b []byte, e *logEntry) []byte {
	for _, item := range f.items {
		b = item(b, e)
	}
	return b
}

// parseLogItem reads what follows a percent sign, and returns its length.
func parseLogItem(s string) (logItem, int, error) {
	i := 0
	not := i < len(s) && s[i] == '!'
	if not {
		i++
	}
	var codes []int
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		end := i
		for end < len(s) && '0' <= s[end] && s[end] <= '9' {
			end++
		}
		code, err := strconv.Atoi(s[i:end])
		if err != nil {
			return nil, 0, fmt.Errorf("accesslog: %%%s: %w", s[:end], err)
		}
		codes = append(codes, code)
		if i = end; i < len(s) && s[i] == ',' {
			i++
		}
	}
	for i < len(s) && (s[i] == '<' || s[i] == '>') {
		i++
	}
	arg := ""
	if i < len(s) && s[i] == '{' {
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			return nil, 0, fmt.Errorf("accesslog: %%%s: no closing brace", s)
		}
		arg = s[i+1 : i+end]
		i += end + 1
	}
	if i >= len(s) {
		return nil, 0, fmt.Errorf("accesslog: %%%s: no directive", s)
	}
	item, err := logItemFor(s[i], arg)
	if err != nil {
		return nil, 0, err
	}
	if len(codes) > 0 {
		item = onStatus(codes, not, item)
	}
	return item, i + 1, nil
}

func onStatus(codes []int, not bool, item logItem) logItem {
	return func(b []byte, e *logEntry) []byte {
		listed := false
		for _, c := range codes {
			listed = listed || c == e.status
		}
		if listed == not {
			return append(b, '-')
		}
		return item(b, e)
	}
}

// logItemFor returns what writes a directive.
func logItemFor(letter byte, arg string) (logItem, error) {
	switch letter {
	case 'h', 'a':
		if arg == "c" {
			return func(b []byte, e *logEntry) []byte { return appendHost(b, exchange.FactsOf(e.r, nil).Peer) }, nil
		}
		return func(b []byte, e *logEntry) []byte { return appendHost(b, e.record.Client) }, nil
	case 'A':
		return func(b []byte, e *logEntry) []byte {
			if a := clientaddr.Local(e.r.Context()); a != nil {
				return appendHost(b, a.String())
			}
			return append(b, '-')
		}, nil
	case 'l', 'L':
		return func(b []byte, _ *logEntry) []byte { return append(b, '-') }, nil
	case 'u':
		return textItem(func(e *logEntry) string { return e.record.User }), nil
	case 't':
		return timeItem(arg)
	case 'r':
		return func(b []byte, e *logEntry) []byte {
			b = appendLogText(b, e.r.Method)
			b = append(b, ' ')
			b = appendLogText(b, requestTarget(e.r))
			b = append(b, ' ')
			return appendLogText(b, e.r.Proto)
		}, nil
	case 'm':
		return textItem(func(e *logEntry) string { return e.r.Method }), nil
	case 'U':
		return textItem(func(e *logEntry) string { return e.r.URL.Path }), nil
	case 'q':
		return func(b []byte, e *logEntry) []byte {
			if e.r.URL.RawQuery == "" {
				return b
			}
			return appendLogText(append(b, '?'), e.r.URL.RawQuery)
		}, nil
	case 'H':
		return textItem(func(e *logEntry) string { return e.r.Proto }), nil
	case 's':
		return func(b []byte, e *logEntry) []byte { return strconv.AppendInt(b, int64(e.status), 10) }, nil
	case 'b':
		return func(b []byte, e *logEntry) []byte {
			if e.w.Sent == 0 {
				return append(b, '-')
			}
			return strconv.AppendInt(b, e.w.Sent, 10)
		}, nil
	case 'B', 'O':
		return func(b []byte, e *logEntry) []byte { return strconv.AppendInt(b, e.w.Sent, 10) }, nil
	case 'i':
		if strings.EqualFold(arg, "Host") {
			return textItem(func(e *logEntry) string { return e.r.Host }), nil
		}
		name := http.CanonicalHeaderKey(arg)
		return textItem(func(e *logEntry) string { return strings.Join(e.r.Header[name], ", ") }), nil
	case 'o':
		name := http.CanonicalHeaderKey(arg)
		return textItem(func(e *logEntry) string { return strings.Join(e.w.Header()[name], ", ") }), nil
	case 'C':
		return textItem(func(e *logEntry) string {
			c, err := e.r.Cookie(arg)
			if err != nil {
				return ""
			}
			return c.Value
		}), nil
	case 'n', 'e':
		return textItem(func(e *logEntry) string {
			if e.log.Note != nil {
				if note := e.log.Note(e.r, arg); note != "" {
					return note
				}
			}
			return note(e.record, arg)
		}), nil
	case 'v', 'V':
		return textItem(func(e *logEntry) string {
			if name, _, err := exchange.ParseHost(e.r.Host); err == nil {
				return name
			}
			return e.r.Host
		}), nil
	case 'p':
		return portItem(arg)
	case 'D':
		return durationItem("us")
	case 'T':
		return durationItem(arg)
	case 'X':
		return func(b []byte, e *logEntry) []byte { return append(b, connectionState(e)) }, nil
	}
	return nil, fmt.Errorf("accesslog: %%%c is not known", letter)
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

// note returns a fact by its name in a log format; "" if there is none.
func note(r *exchange.Record, name string) string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	switch name {
	case "backend":
		return r.Backend
	case "member":
		return r.Member
	case "attempts":
		return number(int64(r.Attempts))
	case "reused":
		if r.Reused {
			return "1"
		}
		return "0"
	case "backend-status":
		if r.BackendStatus != 0 {
			return number(int64(r.BackendStatus))
		}
	case "cache-status":
		return r.Cache
	case "not-stored":
		return r.NotStored
	case "request-bytes":
		return number(r.RequestBytes)
	case "error":
		if r.Err != nil {
			return r.Err.Error()
		}
	case "acquire":
		return number(r.Acquire.Microseconds())
	case "connect":
		return number(r.Connect.Microseconds())
	case "connected":
		return number(r.Connected.Microseconds())
	case "first-byte":
		return number(r.FirstByte.Microseconds())
	}
	return ""
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
	if r.RequestURI != "" {
		return withoutPassword(r.RequestURI)
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

func portItem(arg string) (logItem, error) {
	port := func(addr string) string {
		_, p, _ := net.SplitHostPort(addr)
		return p
	}
	switch arg {
	case "remote":
		return textItem(func(e *logEntry) string { return port(e.record.Client) }), nil
	case "", "local", "canonical":
		return textItem(func(e *logEntry) string {
			if a := clientaddr.Local(e.r.Context()); a != nil {
				return port(a.String())
			}
			return ""
		}), nil
	}
	return nil, fmt.Errorf("accesslog: %%{%s}p is not known", arg)
}

func durationItem(unit string) (logItem, error) {
	per := map[string]time.Duration{"": time.Second, "s": time.Second, "ms": time.Millisecond, "us": time.Microsecond}[unit]
	if per == 0 {
		return nil, fmt.Errorf("accesslog: %%{%s}T is not known", unit)
	}
	return func(b []byte, e *logEntry) []byte { return strconv.AppendInt(b, int64(e.end.Sub(e.start)/per), 10) }, nil
}

// timeItem writes the time of the request, or with "end:" of its answer.
func timeItem(arg string) (logItem, error) {
	when := func(e *logEntry) time.Time { return e.start }
	if rest, ok := strings.CutPrefix(arg, "end:"); ok {
		arg, when = rest, func(e *logEntry) time.Time { return e.end }
	}
	arg = strings.TrimPrefix(arg, "begin:")
	number := func(of func(t time.Time) int64, width int) logItem {
		return func(b []byte, e *logEntry) []byte { return fmt.Appendf(b, "%0*d", width, of(when(e))) }
	}
	switch arg {
	case "":
		return func(b []byte, e *logEntry) []byte {
			return when(e).AppendFormat(b, "[02/Jan/2006:15:04:05 -0700]")
		}, nil
	case "sec":
		return number(time.Time.Unix, 0), nil
	case "msec":
		return number(time.Time.UnixMilli, 0), nil
	case "usec":
		return number(time.Time.UnixMicro, 0), nil
	case "msec_frac":
		return number(func(t time.Time) int64 { return int64(t.Nanosecond() / 1e6) }, 3), nil
	case "usec_frac":
		return number(func(t time.Time) int64 { return int64(t.Nanosecond() / 1e3) }, 6), nil
	}
	parts, err := strftimeParts(arg)
	if err != nil {
		return nil, err
	}
	return func(b []byte, e *logEntry) []byte {
		for _, p := range parts {
			if p.layout {
				b = when(e).AppendFormat(b, p.text)
			} else {
				b = append(b, p.text...)
			}
		}
		return b
	}, nil
}

// timePart is a layout of package time, or text as it is: within a layout, some
// of it would be taken for a time.
type timePart struct {
	text   string
	layout bool
}

// strftimeParts reads a format of strftime.
func strftimeParts(s string) (parts []timePart, err error) {
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+1 == len(s) {
			parts = append(parts, timePart{text: s[i : i+1]})
			continue
		}
		i++
		part, ok := map[byte]string{
			'Y': "2006", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM",
			'b': "Jan", 'h': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday", 'y': "06", 'z': "-0700", 'Z': "MST",
			'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'j': "002", '%': "%", 'n': "\n", 't': "\t",
		}[s[i]]
		if !ok {
			return nil, fmt.Errorf("accesslog: %%%c is not known in a time", s[i])
		}
		parts = append(parts, timePart{part, true})
	}
	return parts, nil
}

// appendLogText escapes what could end the line or a quoted part of it, as
// Apache does.
func appendLogText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < ' ' || c >= 0x7f:
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}
