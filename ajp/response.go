package ajp

import (
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// answerHead is what a SEND_HEADERS packet says.
type answerHead struct {
	status int
	reason string
	header http.Header
}

// parseSendHeaders reads the payload of a SEND_HEADERS packet, behind its
// type, and refuses what could be read in two ways.
func parseSendHeaders(payload string, h *answerHead) error {
	d := decoder{s: payload}
	h.status = d.int()
	h.reason, _ = d.string()
	n := d.int()
	if d.err != nil {
		return d.err
	}
	if h.status < 100 || h.status > 999 {
		return malformed("status is not three digits")
	}
	if !httpguts.ValidHeaderFieldValue(h.reason) {
		return malformed("reason has control bytes")
	}
	header, err := d.fields(n, responseNames[:])
	if err == nil && d.s != "" {
		err = malformed("bytes behind the fields")
	}
	h.header = header
	return err
}

// statusLine returns status and reason as http.Response has them. Tomcat sends
// the number, or nothing, in place of a reason.
func (h *answerHead) statusLine() string {
	number := strconv.Itoa(h.status)
	reason := h.reason
	if reason == "" || reason == number {
		reason = http.StatusText(h.status)
		if h.status == http.StatusOK {
			return "200 OK"
		}
	}
	return number + " " + reason
}

// contentLength returns the length that the answer announces, or -1.
func (h *answerHead) contentLength() (int64, error) {
	values, ok := h.header["Content-Length"]
	if !ok {
		return -1, nil
	}
	length := int64(-1)
	for _, v := range values {
		if v == "" || len(v) > 18 || strings.Trim(v, "0123456789") != "" {
			return 0, malformed("Content-Length is no number")
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || length >= 0 && n != length {
			return 0, malformed("conflicting values of Content-Length")
		}
		length = n
	}
	if len(values) > 1 {
		h.header["Content-Length"] = values[:1]
	}
	return length, nil
}
