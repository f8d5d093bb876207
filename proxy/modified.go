package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/modproxy/modproxy/proxy/exchange"
	"github.com/modproxy/modproxy/proxy/internal/http1"
)

// closeOnce is a body that is closed once, whoever else closes it.
type closeOnce struct {
	io.ReadCloser
	closed atomic.Bool
}

func (c *closeOnce) Close() error {
	if c.ReadCloser == nil || c.closed.Swap(true) {
		return nil
	}
	return c.ReadCloser.Close()
}

// closeOnceConn is one that can be written, as the body of a 101 is.
type closeOnceConn struct{ *closeOnce }

func (c closeOnceConn) Write(p []byte) (int, error) { return c.ReadCloser.(io.Writer).Write(p) }

// CloseWrite half-closes the connection if that can be done.
func (c closeOnceConn) CloseWrite() error {
	if hc, ok := c.ReadCloser.(interface{ CloseWrite() error }); ok {
		return hc.CloseWrite()
	}
	return errors.ErrUnsupported
}

// modify lets the user's function change the answer. It sees a body that may be
// closed more than once; one that it leaves in its place is used as it came.
func (p *passage) modify() error {
	resp, body := p.resp, p.resp.Body
	_, conn := body.(net.Conn)
	_, writes := body.(io.Writer)
	shown := body
	switch {
	case body == http.NoBody, conn:
	case writes:
		shown = closeOnceConn{&p.back}
	default:
		shown = &p.back
	}
	resp.Body = shown
	p.length, p.lengths = resp.ContentLength, resp.Header["Content-Length"]
	defer func() {
		switch {
		case resp.Body == nil:
			resp.Body, p.replaced = http.NoBody, true
		case sameBody(shown, resp.Body):
			resp.Body = body
		default:
			p.replaced = true
		}
	}()
	return p.h.ModifyResponse(resp)
}

// sameBody compares without the panic that some types of others would cause.
func sameBody(a, b io.ReadCloser) bool { return reflect.ValueOf(a).Comparable() && a == b }

// closeAnswer closes the body of the answer, and the one that ModifyResponse has
// put in its place, each once.
func (p *passage) closeAnswer() {
	if p.replaced {
		_ = p.resp.Body.Close()
	}
	_ = p.back.Close()
}

// declare finds out how long the body is that the head announces, below zero if
// it does not, and refuses an answer of which ModifyResponse has changed the
// length in one place and not in the other. The answers of our own transports are
// right as they come.
func (p *passage) declare() error {
	p.declared = -1
	resp := p.resp
	if p.h.ModifyResponse == nil && !p.foreign || resp.Body == http.NoBody || http1.NoContent(p.in.Method, resp.StatusCode) || resp.StatusCode == http.StatusResetContent {
		return nil // there is nothing that could be cut
	}
	changed := p.h.ModifyResponse != nil && resp.ContentLength != p.length
	field := resp.Header["Content-Length"]
	if len(field) == 0 {
		if changed && resp.ContentLength > 0 {
			p.declared = resp.ContentLength
		}
		return nil
	}
	n, ok := parseLength(field)
	switch {
	case !ok:
		return p.wrongLength(exchange.OpHeader, "a Content-Length that is no length")
	case changed && resp.ContentLength != n:
		return p.wrongLength(exchange.OpHeader, "a ContentLength that is not the Content-Length")
	case p.h.ModifyResponse != nil && !p.replaced && resp.ContentLength > 0 && resp.ContentLength != n && !equalValues(field, p.lengths):
		return p.wrongLength(exchange.OpHeader, "a Content-Length that is not the length of the body")
	}
	p.declared = n
	if len(field) > 1 {
		resp.Header["Content-Length"] = field[:1:1]
	}
	return nil
}

// parseLength reads the one length that all values tell.
func parseLength(field []string) (n int64, ok bool) {
	for _, v := range field {
		if v != field[0] {
			return 0, false
		}
	}
	for _, c := range []byte(field[0]) {
		if c < '0' || c > '9' || n > (1<<63-10)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, field[0] != ""
}

func equalValues(a, b []string) bool {
	return len(a) == len(b) && strings.Join(a, ",") == strings.Join(b, ",")
}

// wrongLength is the error of an answer whose lengths differ, and says who made
// it.
func (p *passage) wrongLength(op exchange.Op, what string, cause ...error) error {
	who := "ModifyResponse"
	if p.h.ModifyResponse == nil {
		who = "transport"
	}
	err := fmt.Errorf("%s left %s", who, what)
	if len(cause) > 0 {
		err = fmt.Errorf("%w: %w", err, cause[0])
	}
	return &exchange.Error{Op: op, Backend: p.record.Backend, Status: http.StatusBadGateway, Err: err}
}

// tooLong is the error of a body that has more than the head has announced, if
// that is so with n bytes more.
func (p *passage) tooLong(n int) error {
	if p.declared < 0 || p.record.ResponseBytes+int64(n) <= p.declared {
		return nil
	}
	return p.wrongLength(exchange.OpBody, "a body that is longer than its length", http.ErrContentLength)
}

// checkLength is called at the end of a body that was passed on.
func (p *passage) checkLength() error {
	if p.declared < 0 || p.record.ResponseBytes == p.declared {
		return nil
	}
	if err := p.tooLong(0); err != nil {
		return err
	}
	return p.wrongLength(exchange.OpBody, "a body that is shorter than its length", io.ErrUnexpectedEOF)
}
