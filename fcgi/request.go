package fcgi

import (
	"net/http"

	"github.com/modproxy/modproxy/fcgi/internal/cgi"
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
	b = appendParams(b, p)
	p.Reset()
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

// variables fills p with what the application is told of a request whose body
// has length bytes.
func (t *Transport) variables(p *cgi.Params, r, client *http.Request, role role, s *script, length int64) {
	p.Add("FCGI_ROLE", role.String())
	t.addScript(p, r, role, s)
	g := cgi.Gateway{ServerName: t.ServerName, ServerSoftware: t.ServerSoftware, HideAuthorization: t.HideAuthorization, NoContent: role != roleResponder}
	g.AddTo(p, r, client, length)
	p.SetAll(cgi.Variables(r.Context()))
	if t.Env != nil {
		t.Env(r, (*Params)(p))
	}
}

// addScript adds what is run. An authorizer is told of no script and of no
// path below one, FastCGI 1.0 section 6.3.
func (t *Transport) addScript(p *cgi.Params, r *http.Request, role role, s *script) {
	filename := s.filename
	if t.Type == BackendFPM {
		filename = "proxy:fcgi://" + r.URL.Host + filename
	}
	p.Add("SCRIPT_FILENAME", filename)
	if role == roleResponder {
		p.Add("SCRIPT_NAME", s.name)
		if s.info != "" {
			p.Add("PATH_INFO", s.info)
			if s.root != "" {
				p.Add("PATH_TRANSLATED", s.root+s.info)
			}
		}
	}
	if s.root != "" {
		p.Add("DOCUMENT_ROOT", s.root)
		p.Add("CONTEXT_DOCUMENT_ROOT", s.root)
	}
}
