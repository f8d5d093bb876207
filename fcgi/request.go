package fcgi

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// stdinFraming sends a body as the stream STDIN: one record for each piece that
// the client sends, and the end of the stream with the last.
type stdinFraming struct{ s *exchange.BodySender }

// startSender starts sending the body of r, whose length is known.
func startSender(c *backend.Conn, r *http.Request, hooks exchange.Hooks) *exchange.BodySender {
	s := new(exchange.BodySender)
	s.Init(c, r, hooks)
	s.Expect()
	go func() { s.Finish(s.Copy(stdinFraming{s})) }()
	return s
}

// Room is part of [exchange.BodyFraming].
func (stdinFraming) Room(buf []byte) ([]byte, error) {
	const after = 8 + headLength // padding, and the end of the stream
	return buf[headLength:min(len(buf)-after, headLength+maxContent)], nil
}

// Send is part of [exchange.BodyFraming].
func (f stdinFraming) Send(buf, _ []byte, n int, last bool) error {
	out := buf[:0]
	if n > 0 {
		padding := putRecordHead(buf, typeStdin, requestID, n)
		out = append(buf[:headLength+n], zeros[:padding]...)
	}
	if last {
		out = appendRecord(out, typeStdin, requestID, nil)
	}
	_, err := f.s.Write(out)
	return err
}

// appendRequest appends all records of the request, but for a body that is
// streamed.
func (x *attempt) appendRequest(b []byte) []byte {
	p := &x.state.params
	x.t.variables(p, x.r, x.client, x.role, &x.script, x.length)
	b = appendBegin(b, x.role, !x.c.Backend().DisableReuse)
	head := len(b)
	b = append(b, zeros[:]...)
	b = p.appendTo(b)
	p.reset()
	if n := len(b) - head - headLength; n <= maxAligned {
		b = append(b, zeros[:putRecordHead(b[head:], typeParams, requestID, n)]...)
	} else {
		pairs := append([]byte(nil), b[head+headLength:]...)
		b = appendStream(b[:head], typeParams, requestID, pairs)
	}
	b = appendRecord(b, typeParams, requestID, nil)
	if x.content != nil || x.length <= 0 {
		b = appendStream(b, typeStdin, requestID, x.content)
		b = appendRecord(b, typeStdin, requestID, nil)
	}
	return b
}

// atOnce is the length of bodies up to which they are read before a connection
// is taken, and then sent in one piece with the request.
const atOnce = 16 << 10

// body prepares the body of r: a short one is read into content, one of
// unknown length is spooled. It is closed on failure.
func (t *Transport) body(r *http.Request) (sent *http.Request, content []byte, done func(), err error) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, nil, nil, nil
	}
	if r.ContentLength <= 0 || t.Spool.All && (r.ContentLength > atOnce || t.Spool.Max > 0 && r.ContentLength > t.Spool.Max) {
		sent, done, err = t.Spool.Request(r)
		return sent, nil, done, err
	}
	if r.ContentLength > atOnce {
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

// checkRequest refuses what no variable may hold. Of the path, script does so.
func checkRequest(r, client *http.Request) error {
	if err := exchange.CheckRequest(r); err != nil {
		return err
	}
	if _, err := hostField(r, client); err != nil {
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
