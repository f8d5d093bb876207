package fcgi

import (
	"net/http"
	"strconv"

	"github.com/modproxy/modproxy/proxy"
)

// headScanner looks for the empty line that ends a header, in whatever pieces
// that comes.
type headScanner struct {
	line, total int  // limits
	seen        int  // bytes so far
	width       int  // bytes of the line so far, but for a CR at its end
	cr          bool // the last byte was a CR
}

// scan reads b, and returns how many bytes of it belong to the header, and
// whether it has ended.
func (s *headScanner) scan(b []byte) (n int, done bool, err error) {
	for i, c := range b {
		s.seen++
		switch {
		case c == '\n':
			if s.width == 0 {
				return i + 1, true, nil
			}
			s.width, s.cr = 0, false
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
		if s.width > s.line {
			return i + 1, false, malformed("line of the header is longer than %d bytes", s.line)
		}
		if s.seen > s.total {
			return i + 1, false, malformed("header is longer than %d bytes", s.total)
		}
	}
	return len(b), false, nil
}

// parseHead reads a CGI header into resp, RFC 3875 section 6. Without Status
// a Location is a redirection; a local one, too, is left to the client.
func parseHead(head string, resp *http.Response) error {
	h, err := proxy.ParseFields(head)
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
		code = http.StatusFound
	}
	if text == "" {
		text = strconv.Itoa(code) + " " + http.StatusText(code)
	}
	delete(h, "Transfer-Encoding") // records delimit the body
	delete(h, "Connection")
	*resp = http.Response{Status: text, StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h}
	return nil
}

// parseStatus reads three digits and a reason or none.
func parseStatus(values []string) (code int, text string, err error) {
	text = values[0]
	if len(values) > 1 {
		return 0, "", malformed("Status more than once")
	}
	if len(text) < 3 || len(text) > 3 && text[3] != ' ' {
		return 0, "", malformed("Status is not three digits")
	}
	for i := range 3 {
		if text[i] < '0' || text[i] > '9' {
			return 0, "", malformed("Status is not three digits")
		}
		code = code*10 + int(text[i]-'0')
	}
	if code < 200 || code > 999 {
		return 0, "", malformed("Status %d is no final one", code)
	}
	if len(text) == 3 {
		text = ""
	}
	return code, text, nil
}
