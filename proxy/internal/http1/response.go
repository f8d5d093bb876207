package http1

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// HeadLimits bound what is read as the head of an answer, in bytes.
type HeadLimits struct{ Line, Total int }

// ReadHead appends a head to dst, up to and with its empty line; one empty
// line before it is skipped. io.EOF means that not a byte came.
func ReadHead(r *bufio.Reader, dst []byte, lim HeadLimits) ([]byte, error) {
	start := len(dst)
	skipped := false
	for {
		line := len(dst)
		for {
			part, err := r.ReadSlice('\n')
			dst = append(dst, part...)
			if len(dst)-line > lim.Line+2 {
				return dst, exchange.Malformed("line of the head is longer than %d bytes", lim.Line)
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
		if len(dst)-start > lim.Total {
			return dst, exchange.Malformed("head is longer than %d bytes", lim.Total)
		}
		if n := len(dst) - line; n > 2 || n == 2 && dst[line] != '\r' {
			continue
		}
		if line > start {
			return dst, nil
		}
		if skipped {
			return dst, exchange.Malformed("empty lines before the status line")
		}
		skipped, dst = true, dst[:start]
	}
}

// ParseResponse reads the head of an answer, as readHead returns it, into
// resp: status, protocol and fields, whose values it puts into room as far as
// that reaches.
func ParseResponse(head string, resp *http.Response, room []string) error {
	line, rest := syntax.CutLine(head)
	if err := parseStatusLine(line, resp); err != nil {
		return err
	}
	h, err := exchange.ParseFields(rest, room)
	resp.Header = h
	return err
}

// parseStatusLine accepts HTTP/1.x, three digits, and a reason or none.
func parseStatusLine(line string, resp *http.Response) error {
	const proto = len("HTTP/1.1")
	if len(line) < proto+4 || line[:7] != "HTTP/1." || line[7] < '0' || line[7] > '9' || line[proto] != ' ' {
		return exchange.Malformed("no HTTP/1 status line")
	}
	code := 0
	for i := proto + 1; i < proto+4; i++ {
		d := line[i]
		if d < '0' || d > '9' {
			return exchange.Malformed("status code is not three digits")
		}
		code = code*10 + int(d-'0')
	}
	if code < 100 {
		return exchange.Malformed("status code is below 100")
	}
	if len(line) > proto+4 && line[proto+4] != ' ' {
		return exchange.Malformed("status code is not three digits")
	}
	if !syntax.ValidValue(line) {
		return exchange.Malformed("status line has control bytes")
	}
	resp.Proto, resp.ProtoMajor, resp.ProtoMinor = "HTTP/1.1", 1, 1
	if line[7] == '0' {
		resp.Proto, resp.ProtoMinor = "HTTP/1.0", 0
	}
	resp.StatusCode, resp.Status = code, line[proto+1:]
	return nil
}

// ResponseFraming decides how the body of an answer is delimited (RFC 9112
// section 6.3), and refuses what could be read in two ways. It takes the
// fields that frame out of the header, but for the length of an answer to HEAD
// or with status 304, and what a chunked one announces of its trailer.
func ResponseFraming(method string, resp *http.Response) (f Framing, length int64, err error) {
	h := resp.Header
	te, hasTE := h["Transfer-Encoding"]
	cl, hasCL := h["Content-Length"]
	length = -1
	if hasCL {
		if length, err = exchange.ParseContentLength(cl); err != nil {
			return 0, 0, err
		}
		if len(cl) > 1 || strings.IndexByte(cl[0], ',') >= 0 {
			h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
		}
	}
	if hasTE {
		switch {
		case hasCL:
			return 0, 0, exchange.Malformed("Content-Length beside Transfer-Encoding")
		case resp.ProtoMinor == 0:
			return 0, 0, exchange.Malformed("Transfer-Encoding in HTTP/1.0")
		case len(te) != 1 || !strings.EqualFold(te[0], "chunked"):
			return 0, 0, exchange.Malformed("transfer coding other than chunked")
		}
		delete(h, "Transfer-Encoding")
		if v := h["Trailer"]; v != nil {
			delete(h, "Trailer")
			resp.Trailer = AnnouncedTrailer(v)
		}
	}
	code := resp.StatusCode
	switch {
	case code == http.StatusNoContent || code < 200:
		delete(h, "Content-Length")
		return FramingNone, 0, nil
	case NoContent(method, code):
		return FramingNone, length, nil
	case method == http.MethodConnect && code < 300:
		return FramingClose, -1, nil
	case hasTE:
		return FramingChunked, -1, nil
	case hasCL:
		return FramingLength, length, nil
	}
	return FramingClose, -1, nil
}

// NoContent reports whether an answer has no content, whatever its fields say
// (RFC 9110 section 6.4.1).
func NoContent(method string, status int) bool {
	return method == http.MethodHead || status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
}

// AnnouncedTrailer returns the trailer fields that the header announces, with
// nil values, as net/http does.
func AnnouncedTrailer(values []string) http.Header {
	h := make(http.Header)
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			if name = syntax.TrimBlank(name); syntax.IsToken(name) && !exchange.ForbiddenTrailer(name) {
				h[textproto.CanonicalMIMEHeaderKey(name)] = nil
			}
		}
	}
	return h
}

// KeepAliveTimeout reads "timeout=5" out of a Keep-Alive field and stays a
// tenth below it, so that the backend does not close first.
func KeepAliveTimeout(v string) time.Duration {
	for p := range strings.SplitSeq(v, ",") {
		name, value, ok := strings.Cut(syntax.TrimBlank(p), "=")
		if !ok || !strings.EqualFold(name, "timeout") {
			continue
		}
		if n, err := strconv.Atoi(value); err == nil && 0 < n && n < 1<<20 {
			return time.Duration(n) * time.Second * 9 / 10
		}
	}
	return 0
}
