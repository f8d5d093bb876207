package cgi

import (
	"net/http"
	"strconv"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// HeadScanner looks for the empty line that ends a header, in whatever pieces
// that comes.
type HeadScanner struct {
	Line, Total int  // limits
	seen        int  // bytes so far
	width       int  // bytes of the line so far, but for a CR at its end
	cr          bool // the last byte was a CR
}

// Scan reads b, and returns how many bytes of it belong to the header, and
// whether it has ended.
func (s *HeadScanner) Scan(b []byte) (n int, done bool, err error) {
	for i, c := range b {
		s.seen++
		switch {
		case c == '\n':
			ended := s.width == 0
			s.width, s.cr = 0, false
			if ended {
				return i + 1, true, nil
			}
		case s.cr: // one that ends no line
			s.width += 2
			if s.cr = c == '\r'; s.cr {
				s.width--
			}
		case c == '\r':
			s.cr = true
		default:
			s.width++
		}
		if s.width > s.Line {
			return i + 1, false, exchange.Malformed("line of the header is longer than %d bytes", s.Line)
		}
		if s.seen > s.Total {
			return i + 1, false, exchange.Malformed("header is longer than %d bytes", s.Total)
		}
	}
	return len(b), false, nil
}

// ParseHead reads a CGI header into resp, RFC 3875 section 6. Without Status
// a Location is a redirection; a local one, too, is left to the client.
func ParseHead(head string, resp *http.Response) error {
	return parseHead(head, resp, http.StatusFound)
}

// ParsePlainHead is ParseHead, but for the status of a Location alone: 200.
func ParsePlainHead(head string, resp *http.Response) error {
	return parseHead(head, resp, http.StatusOK)
}

func parseHead(head string, resp *http.Response, located int) error {
	h, err := exchange.ParseFields(head, nil)
	if err != nil {
		return err
	}
	code, text := http.StatusOK, ""
	if v := h["Status"]; v != nil {
		if code, text, err = parseStatus(v); err != nil {
			return err
		}
		delete(h, "Status")
	} else if h["Location"] != nil {
		code = located
	}
	SetHead(resp, code, text, h)
	return nil
}

// SetHead makes resp an answer without a body yet. No text is that of the code.
func SetHead(resp *http.Response, code int, text string, h http.Header) {
	if text == "" {
		text = strconv.Itoa(code) + " " + http.StatusText(code)
	}
	delete(h, "Transfer-Encoding") // the protocol delimits the body
	delete(h, "Connection")
	*resp = http.Response{Status: text, StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h}
}

// TakeLength reads Content-Length, and leaves one value of it: the length of the
// body, or -1 if the answer does not tell. It also reports whether the answer to a
// request of that method has no body.
func TakeLength(resp *http.Response, method string) (length int64, bodyless bool, err error) {
	length = -1
	if v := resp.Header["Content-Length"]; v != nil {
		if length, err = exchange.ParseContentLength(v); err != nil {
			return 0, false, err
		}
		if len(v) > 1 {
			resp.Header["Content-Length"] = v[:1]
		}
	}
	if resp.StatusCode == http.StatusNoContent {
		delete(resp.Header, "Content-Length")
		length = 0
	}
	if resp.StatusCode == http.StatusNotModified && length < 0 {
		length = 0
	}
	return length, method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified, nil
}

// parseStatus reads the field Status.
func parseStatus(values []string) (code int, text string, err error) {
	if len(values) > 1 {
		return 0, "", exchange.Malformed("Status more than once")
	}
	if code, text, err = ParseStatus(values[0]); err == nil && code < 200 {
		err = exchange.Malformed("Status %d is no final one", code)
	}
	return code, text, err
}

// ParseStatus reads three digits and a reason or none.
func ParseStatus(s string) (code int, text string, err error) {
	if len(s) < 3 || len(s) > 3 && s[3] != ' ' {
		return 0, "", exchange.Malformed("status is not three digits")
	}
	for i := range 3 {
		if s[i] < '0' || s[i] > '9' {
			return 0, "", exchange.Malformed("status is not three digits")
		}
		code = code*10 + int(s[i]-'0')
	}
	if code < 100 {
		return 0, "", exchange.Malformed("status %d is none", code)
	}
	if len(s) > 3 {
		text = s
	}
	return code, text, nil
}
