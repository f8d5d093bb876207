package cgi

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// AtOnce is the length of bodies up to which they are read before a connection
// is taken, and then sent in one piece with the request.
const AtOnce = 16 << 10

// Body is the body of a request, ready to be sent.
type Body struct {
	Request *http.Request // with what is left of the body
	Content []byte        // the body, if it was read
	Length  int64         // of the body, read or not
	done    func()
}

// Streams reports whether the body is that of Request, and not Content.
func (b *Body) Streams() bool { return b.Content == nil && b.Length > 0 }

// Done is called when Request will not be sent any more.
func (b *Body) Done() {
	if b.done != nil {
		b.done()
	}
}

// ReadBody prepares the body of r: a short one is read into Content, one of
// unknown length is spooled. It is closed on failure.
func ReadBody(r *http.Request, spool *exchange.Spool) (b Body, err error) {
	if b.Request, b.Content, b.done, err = readBody(r, spool); err != nil {
		return b, err
	}
	b.Length = b.Request.ContentLength
	switch {
	case b.Content != nil:
		b.Length = int64(len(b.Content))
	case b.Request.Body == nil || b.Request.Body == http.NoBody: // whatever ContentLength says
		b.Length = 0
	}
	return b, nil
}

func readBody(r *http.Request, spool *exchange.Spool) (sent *http.Request, content []byte, done func(), err error) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, nil, nil, nil
	}
	if r.ContentLength <= 0 || spool.All && (r.ContentLength > AtOnce || spool.Max > 0 && r.ContentLength > spool.Max) {
		sent, done, err = spool.Request(r)
		return sent, nil, done, err
	}
	if r.ContentLength > AtOnce {
		return r, nil, nil, nil
	}
	content = make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, content); err != nil {
		exchange.CloseBody(r)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, nil, nil, exchange.ClientBodyError("", err)
	}
	exchange.CloseBody(r)
	out := *r
	out.Body, out.GetBody = http.NoBody, nil
	return &out, content, nil, nil
}

// CheckRequest refuses what no variable may hold. Of the path, CheckPath does so.
func CheckRequest(r, client *http.Request) error {
	if err := exchange.CheckRequest(r); err != nil {
		return err
	}
	if _, err := HostField(r, client); err != nil {
		return err
	}
	if client != nil { // whose Host is the name of the server, too
		if _, _, err := exchange.ParseHost(client.Host); err != nil {
			return err
		}
	}
	f := exchange.FactsOf(r, nil)
	if holdsNUL(f.User) || holdsNUL(f.AuthType) {
		return errVariable("user")
	}
	for name, value := range Variables(r.Context()) {
		if holdsNUL(name) || holdsNUL(value) {
			return errVariable("variable")
		}
	}
	return nil
}

// holdsNUL reports whether a text would end early in the environment of a program.
func holdsNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

// errVariable is the error for what the embedder's code has given.
func errVariable(what string) error {
	return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: errors.New(what + " with a NUL")}
}

func badRequest(text string) error {
	return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusBadRequest, Err: errors.New(text)}
}

// CheckPath refuses a path that would mean something else than it seems to.
func CheckPath(p string) error {
	if p == "" || p[0] != '/' {
		return badRequest("path does not begin with a slash")
	}
	if HasControl(p) {
		return badRequest("path has control bytes")
	}
	for segment := range strings.SplitSeq(p, "/") {
		if segment == ".." || segment == "." {
			return badRequest("path has dot segments")
		}
	}
	return nil
}

// HasControl reports whether s has a control byte of ASCII, such as NUL, at
// which a file system would end the name, or a line feed, at which a regular
// expression would.
func HasControl(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}
