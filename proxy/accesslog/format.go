package accesslog

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// Format is a compiled format of a [Handler].
//
//	%h %a        address of the client     %{c}a   of the peer, before RemoteIP
//	%A           local address             %l      "-"
//	%u           user                      %t      time, as [02/Jan/2006:15:04:05 -0700]
//	%{f}t        time by strftime, or sec, msec, usec, msec_frac, usec_frac; begin: or end: before it
//	%r %m %U %q  request line, method, path, query with its "?"
//	%H %s %>s    protocol, status          %b %B   bytes of the body, "-" or 0 for none
//	%I %O %S     bytes of the request, of the answer, of both; what frames them is estimated
//	%D %T        duration in µs, s; %{us,ms,s}T
//	%^FB         µs to the first byte of the backend's answer
//	%{name}i     field of the request      %{name}o  of the answer, Content-Type without parameters
//	%{name}^ti   field of its trailer      %{name}^to
//	%{name}C     cookie
//	%{name}n     note                      %{name}e  variable
//	%v %V        host of the request       %p      port; %{local}p, %{canonical}p, %{remote}p
//	%P           process; %{tid}P and %{hextid}P, too, since goroutines have no number
//	%X           "X" if the answer broke off, "+" if the connection may stay, "-" if not
//	%f %k %L %R  file, requests before on the connection, id in the error log, handler:
//	%{name}c %{name}x   and variables of TLS: what Lookup of the Handler says, or "-"
//	%%           a percent sign
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
// in Go. A directive that is not in the table of [Format] is an error.
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

// parseLogItem reads what follows a percent sign, and returns its length. As in
// httpd, what stands between it and the letter may stand in any order.
func parseLogItem(s string) (logItem, int, error) {
	var codes []int
	not, arg := false, ""
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '!':
			not = !not
		case c == '<', c == '>', c == ',':
		case c == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return nil, 0, fmt.Errorf("accesslog: %%%s: no closing brace", s)
			}
			arg = s[i+1 : i+end]
			i += end
		case '0' <= c && c <= '9':
			end := i
			for end < len(s) && '0' <= s[end] && s[end] <= '9' {
				end++
			}
			code, err := strconv.Atoi(s[i:end])
			if err != nil {
				return nil, 0, fmt.Errorf("accesslog: %%%s: %w", s[:end], err)
			}
			codes = append(codes, code)
			i = end - 1
		default:
			letter := s[i : i+1]
			if c == '^' && i+2 < len(s) {
				letter = s[i : i+3]
			}
			item, err := logItemFor(letter, arg)
			if err != nil {
				return nil, 0, err
			}
			if len(codes) > 0 {
				item = onStatus(codes, not, item)
			}
			return item, i + len(letter), nil
		}
	}
	return nil, 0, fmt.Errorf("accesslog: %%%s: no directive", s)
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
		case c == '\b':
			b = append(b, '\\', 'b')
		case c == '\v':
			b = append(b, '\\', 'v')
		case c < ' ' || c >= 0x7f:
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}
