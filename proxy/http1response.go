package proxy

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// headLimits bound what is read as the head of an answer, in bytes.
type headLimits struct{ line, total int }

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

// parseResponse reads the head of an answer, as readHead returns it, into
// resp: status, protocol and fields, whose values it puts into room as far as
// that reaches.
func parseResponse(head string, resp *http.Response, room []string) error {
	line, rest := cutLine(head)
	if err := parseStatusLine(line, resp); err != nil {
		return err
	}
	h, err := ParseFields(rest, room)
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
		if length, err = ParseContentLength(cl); err != nil {
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

// announcedTrailer returns the trailer fields that the header announces, with
// nil values, as net/http does.
func announcedTrailer(values []string) http.Header {
	h := make(http.Header)
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			if name = trimBlank(name); isToken(name) && !forbiddenTrailer(name) {
				h[textproto.CanonicalMIMEHeaderKey(name)] = nil
			}
		}
	}
	return h
}

// keepAliveTimeout reads "timeout=5" out of a Keep-Alive field and stays a
// tenth below it, so that the backend does not close first.
func keepAliveTimeout(v string) time.Duration {
	for p := range strings.SplitSeq(v, ",") {
		name, value, ok := strings.Cut(trimBlank(p), "=")
		if !ok || !strings.EqualFold(name, "timeout") {
			continue
		}
		if n, err := strconv.Atoi(value); err == nil && 0 < n && n < 1<<20 {
			return time.Duration(n) * time.Second * 9 / 10
		}
	}
	return 0
}
