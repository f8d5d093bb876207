package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// headLimits bound what is read as the head of an answer, in bytes.
type headLimits struct{ line, total int }

// malformed is the error for an answer that is refused for its form.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// readHead appends a head to dst, up to and with its empty line; one empty
// line before it is skipped. io.EOF means that not a byte came.
func readHead(r *bufio.Reader, dst []byte, lim headLimits) ([]byte, error) {
	start := len(dst)
	skipped := false
	for {
		line := len(dst)
		for {
			part, err := r.ReadSlice('\n')
			dst = append(dst, part...)
			if len(dst)-line > lim.line+2 {
				return dst, malformed("line of the head is longer than %d bytes", lim.line)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				if err == io.EOF && (skipped || len(dst) > start) {
					err = io.ErrUnexpectedEOF
				}
				return dst, err
			}
		}
		if len(dst)-start > lim.total {
			return dst, malformed("head is longer than %d bytes", lim.total)
		}
		if n := len(dst) - line; n > 2 || n == 2 && dst[line] != '\r' {
			continue
		}
		if line > start {
			return dst, nil
		}
		if skipped {
			return dst, malformed("empty lines before the status line")
		}
		skipped, dst = true, dst[:start]
	}
}

// cutLine splits off the first line of s, without its CRLF or bare LF.
func cutLine(s string) (line, rest string) {
	i := strings.IndexByte(s, '\n')
	if i < 0 {
		return s, ""
	}
	line, rest = s[:i], s[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest
}

// parseResponse reads the head of an answer, as readHead returns it, into
// resp: status, protocol and fields, whose values it puts into room as far as
// that reaches.
func parseResponse(head string, resp *http.Response, room []string) error {
	line, rest := cutLine(head)
	if err := parseStatusLine(line, resp); err != nil {
		return err
	}
	h, err := parseFields(rest, room)
	resp.Header = h
	return err
}

// parseStatusLine accepts HTTP/1.x, three digits, and a reason or none.
func parseStatusLine(line string, resp *http.Response) error {
	const proto = len("HTTP/1.1")
	if len(line) < proto+4 || line[:7] != "HTTP/1." || line[7] < '0' || line[7] > '9' || line[proto] != ' ' {
		return malformed("no HTTP/1 status line")
	}
	code := 0
	for i := proto + 1; i < proto+4; i++ {
		d := line[i]
		if d < '0' || d > '9' {
			return malformed("status code is not three digits")
		}
		code = code*10 + int(d-'0')
	}
	if code < 100 {
		return malformed("status code is below 100")
	}
	if len(line) > proto+4 && line[proto+4] != ' ' {
		return malformed("status code is not three digits")
	}
	if !validValue(line) {
		return malformed("status line has control bytes")
	}
	resp.Proto, resp.ProtoMajor, resp.ProtoMinor = "HTTP/1.1", 1, 1
	if line[7] == '0' {
		resp.Proto, resp.ProtoMinor = "HTTP/1.0", 0
	}
	resp.StatusCode, resp.Status = code, line[proto+1:]
	return nil
}

// parseFields reads field lines up to the empty one. The map's values share
// one array, room if it is large enough, and all text is part of s.
func parseFields(s string, room []string) (http.Header, error) {
	lines := max(strings.Count(s, "\n")-1, 0)
	h := make(http.Header, lines)
	values := room
	if cap(room) < lines {
		values = make([]string, 0, lines)
	}
	for s != "" {
		var line string
		line, s = cutLine(s)
		if line == "" {
			break
		}
		colon := strings.IndexByte(line, ':')
		if colon <= 0 {
			return nil, malformed("field line without a name")
		}
		name, value := line[:colon], trimBlank(line[colon+1:])
		if !isToken(name) {
			return nil, malformed("field name is no token")
		}
		if s != "" && (s[0] == ' ' || s[0] == '\t') {
			value, s = unfold(value, s)
		}
		if !validValue(value) {
			return nil, malformed("value of a field has control bytes")
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
		more, s = cutLine(s)
		if more = trimBlank(more); more == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(more)
	}
	return b.String(), s
}

func trimBlank(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// responseFraming decides how the body of an answer is delimited (RFC 9112
// section 6.3), and refuses what could be read in two ways. It takes the
// fields that frame out of the header, but for the length of an answer to HEAD
// or with status 304.
func responseFraming(method string, resp *http.Response) (f framing, length int64, err error) {
	h := resp.Header
	te, hasTE := h["Transfer-Encoding"]
	cl, hasCL := h["Content-Length"]
	length = -1
	if hasCL {
		if length, err = contentLength(cl); err != nil {
			return 0, 0, err
		}
		if len(cl) > 1 || strings.IndexByte(cl[0], ',') >= 0 {
			h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
		}
	}
	if hasTE {
		switch {
		case hasCL:
			return 0, 0, malformed("Content-Length beside Transfer-Encoding")
		case resp.ProtoMinor == 0:
			return 0, 0, malformed("Transfer-Encoding in HTTP/1.0")
		case len(te) != 1 || !strings.EqualFold(te[0], "chunked"):
			return 0, 0, malformed("transfer coding other than chunked")
		}
		delete(h, "Transfer-Encoding")
	}
	code := resp.StatusCode
	switch {
	case code == http.StatusNoContent || code < 200:
		delete(h, "Content-Length")
		return framingNone, 0, nil
	case noContent(method, code):
		return framingNone, length, nil
	case method == http.MethodConnect && code < 300:
		return framingClose, -1, nil
	case hasTE:
		return framingChunked, -1, nil
	case hasCL:
		return framingLength, length, nil
	}
	return framingClose, -1, nil
}

// noContent reports whether an answer has no content, whatever its fields say
// (RFC 9110 section 6.4.1).
func noContent(method string, status int) bool {
	return method == http.MethodHead || status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
}

// contentLength reads one length from one or more equal ones.
func contentLength(values []string) (int64, error) {
	length := int64(-1)
	for _, v := range values {
		for more := true; more; {
			var one string
			one, v, more = strings.Cut(v, ",")
			one = trimBlank(one)
			if one == "" || len(one) > 18 || strings.Trim(one, "0123456789") != "" {
				return 0, malformed("Content-Length is no number")
			}
			n, err := strconv.ParseInt(one, 10, 64)
			if err != nil || length >= 0 && n != length {
				return 0, malformed("conflicting values of Content-Length")
			}
			length = n
		}
	}
	return length, nil
}
