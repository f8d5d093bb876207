package exchange

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// ParseFields reads field lines that end in CRLF or LF, up to an empty line or
// the end of s, by the rules for HTTP/1 answers; what is refused is an error that
// wraps [ErrMalformed]. It is for protocols that carry such lines, such as CGI.
// The map's values share one array, room if it is large enough (it may be nil),
// and all text is part of s.
func ParseFields(s string, room []string) (http.Header, error) {
	lines := max(strings.Count(s, "\n")-1, 0)
	h := make(http.Header, lines)
	values := room
	if cap(room) < lines {
		values = make([]string, 0, lines)
	}
	for s != "" {
		var line string
		line, s = syntax.CutLine(s)
		if line == "" {
			break
		}
		colon := strings.IndexByte(line, ':')
		if colon <= 0 {
			return nil, Malformed("field line without a name")
		}
		name, value := line[:colon], syntax.TrimBlank(line[colon+1:])
		if !syntax.IsToken(name) {
			return nil, Malformed("field name is no token")
		}
		if s != "" && (s[0] == ' ' || s[0] == '\t') {
			value, s = unfold(value, s)
		}
		if !syntax.ValidValue(value) {
			return nil, Malformed("value of a field has control bytes")
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		if have, ok := h[name]; ok {
			h[name] = append(have, value)
			continue
		}
		values = append(values, value)
		n := len(values)
		h[name] = values[n-1 : n : n]
	}
	return h, nil
}

// unfold adds the folded lines at the begin of s (RFC 9112 section 5.2) to a
// value. There may be a great many of them.
func unfold(value, s string) (unfolded, rest string) {
	var b strings.Builder
	b.WriteString(value)
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		var more string
		more, s = syntax.CutLine(s)
		if more = syntax.TrimBlank(more); more == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(more)
	}
	return b.String(), s
}

// ParseContentLength returns the length that the values of Content-Length
// agree on; anything but one number is an error that wraps [ErrMalformed].
func ParseContentLength(values []string) (int64, error) {
	length := int64(-1)
	for _, v := range values {
		for more := true; more; {
			var one string
			one, v, more = strings.Cut(v, ",")
			one = syntax.TrimBlank(one)
			if one == "" || len(one) > 18 || strings.Trim(one, "0123456789") != "" {
				return 0, Malformed("Content-Length is no number")
			}
			n, err := strconv.ParseInt(one, 10, 64)
			if err != nil || length >= 0 && n != length {
				return 0, Malformed("conflicting values of Content-Length")
			}
			length = n
		}
	}
	return length, nil
}

// FramesInDisguise reports whether the name of a field, which is not in
// canonical form, means one that frames or routes the message to a backend that
// ignores case: it must not be sent.
func FramesInDisguise(name string) bool {
	switch len(name) {
	case len("Host"):
		return strings.EqualFold(name, "Host")
	case len("Content-Length"):
		return strings.EqualFold(name, "Content-Length")
	case len("Transfer-Encoding"):
		return strings.EqualFold(name, "Transfer-Encoding")
	case len("Connection"):
		return strings.EqualFold(name, "Connection")
	}
	return false
}
