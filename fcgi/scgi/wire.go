package scgi

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/fcgi/internal/cgi"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// appendRequest appends a request up to its body: a netstring of all variables, of
// which the first is the length of the body.
func appendRequest(dst []byte, p *cgi.Params, length int64) ([]byte, error) {
	const first = "CONTENT_LENGTH"
	p.Delete(first)
	size := strconv.FormatInt(max(length, 0), 10)
	list := p.List()
	n := len(first) + len(size) + 2
	for i := range list {
		v := &list[i]
		n += v.NameLen() + len(v.Value) + 2
	}
	dst = strconv.AppendInt(dst, int64(n), 10)
	dst = append(dst, ':')
	begin := len(dst)
	dst = append(append(append(append(dst, first...), 0), size...), 0)
	for i := range list {
		v := &list[i]
		if strings.IndexByte(v.Value, 0) >= 0 {
			return nil, errNUL
		}
		dst = append(v.AppendName(dst), 0)
		dst = append(append(dst, v.Value...), 0)
	}
	if bytes.Count(dst[begin:], []byte{0}) != 2*(len(list)+1) { // a name has one
		return nil, errNUL
	}
	return append(dst, ','), nil
}

// errNUL is the error for variables that the embedder's code has given.
var errNUL = &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: errors.New("variable with a NUL")}
