package uwsgi

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"

	"github.com/modproxy/modproxy/fcgi/internal/cgi"
	"github.com/modproxy/modproxy/proxy/exchange"
)

const (
	headLength = 4 // modifier1, length of the variables, modifier2
	// maxVariables is the length of all variables of a request.
	maxVariables = 1<<16 - 1
)

// appendRequest appends a request up to its body: all variables in one packet.
func appendRequest(dst []byte, p *cgi.Params, _ int64) ([]byte, error) {
	begin := len(dst)
	dst = append(dst, 0, 0, 0, 0) // both modifiers are those of WSGI
	list := p.List()
	for i := range list {
		v := &list[i]
		if len(dst)-begin-headLength+4+v.NameLen()+len(v.Value) > maxVariables {
			return nil, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusRequestHeaderFieldsTooLarge, Err: fmt.Errorf("variables take more than the %d bytes that uwsgi has for them", maxVariables)}
		}
		dst = binary.LittleEndian.AppendUint16(dst, uint16(v.NameLen()))
		dst = v.AppendName(dst)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(v.Value)))
		dst = append(dst, v.Value...)
	}
	binary.LittleEndian.PutUint16(dst[begin+1:], uint16(len(dst)-begin-headLength))
	return dst, nil
}

// parseHead reads the head of an answer, which is one of HTTP/1.
func parseHead(head string, resp *http.Response) error {
	line, fields, _ := strings.Cut(head, "\n")
	line = strings.TrimSuffix(line, "\r")
	const prefix = "HTTP/1." // and a digit, and a blank
	if len(line) < len(prefix)+2 || !strings.HasPrefix(line, prefix) || line[len(prefix)] < '0' || line[len(prefix)] > '9' || line[len(prefix)+1] != ' ' {
		return exchange.Malformed("answer does not begin with a status line")
	}
	code, text, err := cgi.ParseStatus(line[len(prefix)+2:])
	if err != nil {
		return err
	}
	if cgi.HasControl(text) {
		return exchange.Malformed("status line has control bytes")
	}
	h, err := exchange.ParseFields(fields, nil)
	if err != nil {
		return err
	}
	cgi.SetHead(resp, code, text, h)
	return nil
}
