package ftpproxy

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// precondition evaluates the conditions of a request in the order of RFC 9110
// section 13.2.2. It returns 0 if the request is to be served, 304 or 412.
func precondition(r *http.Request, i info) int {
	reads := r.Method != http.MethodPut && r.Method != http.MethodDelete
	tag := i.etag()
	if list, ok := field(r, "If-Match"); ok {
		if !matches(list, tag, true) {
			return http.StatusPreconditionFailed
		}
	} else if at, ok := date(r, "If-Unmodified-Since"); ok && !i.modified.IsZero() && i.modified.Truncate(time.Second).After(at) {
		return http.StatusPreconditionFailed
	}
	if list, ok := field(r, "If-None-Match"); ok {
		switch {
		case !matches(list, tag, false):
		case reads:
			return http.StatusNotModified
		default:
			return http.StatusPreconditionFailed
		}
	} else if at, ok := date(r, "If-Modified-Since"); ok && reads && !i.modified.IsZero() && !i.modified.Truncate(time.Second).After(at) {
		return http.StatusNotModified
	}
	return 0
}

// preconditionOfNothing is precondition for what does not exist yet.
func preconditionOfNothing(r *http.Request) int {
	if _, ok := field(r, "If-Match"); ok {
		return http.StatusPreconditionFailed
	}
	return 0
}

func field(r *http.Request, name string) (string, bool) {
	values := r.Header[name]
	return strings.Join(values, ","), len(values) > 0
}

func date(r *http.Request, name string) (time.Time, bool) {
	text, ok := field(r, name)
	if !ok {
		return time.Time{}, false
	}
	at, err := http.ParseTime(text)
	return at, err == nil
}

// matches reports whether a list of entity tags names tag, which is strong; "*"
// names whatever exists.
func matches(list, tag string, strong bool) bool {
	list = strings.Trim(list, " \t")
	if list == "*" {
		return true
	}
	for list != "" {
		list = strings.TrimLeft(list, " \t,")
		weak := strings.HasPrefix(list, "W/")
		list = strings.TrimPrefix(list, "W/")
		if list == "" || list[0] != '"' {
			return false
		}
		end := strings.IndexByte(list[1:], '"')
		if end < 0 {
			return false
		}
		if tag != "" && list[:end+2] == tag && !(strong && weak) {
			return true
		}
		list = list[end+2:]
	}
	return false
}

// span is the part of a file that is sent.
type span struct {
	from, length int64 // a length below zero is unknown
	part         bool  // it was asked for by Range
}

func wholeFile(size int64) span { return span{length: size} }

// rangeOf returns what Range asks for of a file whose size is known (RFC 9110
// section 14). Several ranges are answered by all of the file, as is what is
// malformed. It reports false for a range behind the end.
func rangeOf(r *http.Request, i info) (span, bool) {
	all := wholeFile(i.size)
	text, ok := field(r, "Range")
	if !ok || !ifRange(r, i) {
		return all, true
	}
	unit, set, ok := strings.Cut(text, "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return all, true
	}
	first, last, ok := strings.Cut(strings.Trim(set, " \t"), "-")
	if !ok {
		return all, true
	}
	if first == "" {
		n, ok := digits(last)
		if !ok {
			return all, true
		}
		if n == 0 || i.size == 0 {
			return span{}, false
		}
		n = min(n, i.size)
		return span{i.size - n, n, true}, true
	}
	from, ok := digits(first)
	if !ok {
		return all, true
	}
	to := i.size - 1
	if last != "" {
		n, ok := digits(last)
		if !ok || n < from {
			return all, true
		}
		to = min(to, n)
	}
	if from >= i.size {
		return span{}, false
	}
	return span{from, to - from + 1, true}, true
}

// ifRange reports whether Range counts.
func ifRange(r *http.Request, i info) bool {
	text, ok := field(r, "If-Range")
	if !ok {
		return true
	}
	if strings.HasPrefix(text, `"`) {
		return text == i.etag()
	}
	at, err := http.ParseTime(text)
	return err == nil && !i.modified.IsZero() && i.modified.Truncate(time.Second).Equal(at)
}

// digits reads a number without a sign; one that is too large is a large one.
func digits(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}
