package ajp

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// bodyKind is how the body of a request is sent.
type bodyKind int

const (
	bodyNone    bodyKind = iota
	bodyLength           // its first packet goes unasked
	bodyChunked          // of unknown length: each packet only when asked for
)

func bodyKindOf(r *http.Request) bodyKind {
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return bodyNone
	case r.ContentLength > 0:
		return bodyLength
	}
	return bodyChunked
}

// facts are what a container is told beside the request's line and fields.
type facts struct {
	host       string // for Host
	server     string // for server_name and server_port; empty for host
	remoteAddr string // host:port of the client
	localAddr  string // IP at which the client's connection arrived; empty if unknown
	remoteUser string
	authType   string
	route      string
	secret     string
	secure     bool // the client came by https
	tls        *tls.ConnectionState
	named      []Attribute
}

// badRequest is the refusal of a request that could be read in two ways.
func badRequest(format string, args ...any) *exchange.Error {
	return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
}

// tooLarge is the refusal of a request whose head does not fit a packet.
func tooLarge(size int) *exchange.Error {
	return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusRequestHeaderFieldsTooLarge,
		Err: fmt.Errorf("head of the request does not fit an AJP packet of %d bytes", size)}
}

// appendForwardRequest appends the packet that forwards r, or refuses r. The
// packet is at most size bytes long.
func appendForwardRequest(b []byte, r *http.Request, kind bodyKind, f *facts, size int) ([]byte, *exchange.Error) {
	method := r.Method
	if method != "" && !httpguts.ValidHeaderFieldName(method) {
		return b, badRequest("method is no token")
	}
	uri, query, err := target(r)
	if err != nil {
		return b, err
	}
	if tooLong(uri, query, f.host, f.server, method) {
		return b, tooLarge(size)
	}
	server, port, err := serverOf(cmp.Or(f.server, f.host), f.secure)
	if err != nil {
		return b, err
	}
	start := len(b)
	b = appendHead(b)
	code := methodCode(method)
	b = append(b, typeForwardRequest, code)
	b = appendString(b, protocol(r))
	b = appendString(b, uri)
	b = appendString(b, hostOf(f.remoteAddr))
	b = appendInt(b, nullString) // remote_host: nobody looks names up
	b = appendString(b, server)
	b = appendInt(b, port)
	b = append(b, boolean(f.secure))
	if b, err = appendFields(b, r, kind, f.host, start+size); err != nil {
		if err.Status == http.StatusRequestHeaderFieldsTooLarge {
			err = tooLarge(size)
		}
		return b, err
	}
	if b, err = appendAttributes(b, f, query, method, code); err != nil {
		return b, err
	}
	b = append(b, attrEnd)
	if n := len(b) - start; n > size {
		return b, tooLarge(size)
	}
	putHead(b[start:], toContainer, len(b)-start-headSize)
	return b, nil
}

func boolean(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// protocol is that of the client; it is only told.
func protocol(r *http.Request) string {
	if strings.HasPrefix(r.Proto, "HTTP/") && httpguts.ValidHeaderFieldName(r.Proto[5:]) {
		return r.Proto
	}
	return "HTTP/1.1"
}

// tooLong reports whether a string cannot be written at all.
func tooLong(strings ...string) bool {
	for _, s := range strings {
		if len(s) > maxString {
			return true
		}
	}
	return false
}

// target returns the raw path and the raw query.
func target(r *http.Request) (uri, query string, err *exchange.Error) {
	uri, query = r.URL.EscapedPath(), r.URL.RawQuery
	if o := r.URL.Opaque; o != "" {
		uri = o
		if rest, ok := strings.CutPrefix(o, "//"); ok { // an authority, which is the backend's
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				uri = rest[i:]
			} else {
				uri = "/"
			}
		}
		if path, q, ok := strings.Cut(uri, "?"); ok && query == "" {
			uri, query = path, q
		}
	}
	if hasBlankOrControl(uri) || hasBlankOrControl(query) {
		return "", "", badRequest("target has blanks or control bytes")
	}
	if uri == "" || uri[0] != '/' && uri != "*" {
		uri = "/" + uri
	}
	return uri, query, nil
}

// hostOf returns the host of host:port.
func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		addr = host
	}
	addr, _, _ = strings.Cut(addr, "%") // a zone means nothing to another machine
	return addr
}

func portOf(addr string) string {
	if _, port, err := net.SplitHostPort(addr); err == nil {
		return port
	}
	return ""
}

// serverOf returns the name and port in a Host field, as mod_proxy_ajp tells
// them with UseCanonicalName Off.
func serverOf(host string, secure bool) (name string, port int, err *exchange.Error) {
	name, number, perr := exchange.ParseHost(host)
	if perr != nil {
		return "", 0, badRequest("%w", exchange.ErrHost)
	}
	if strings.HasPrefix(host, "[") {
		name = host[:len(name)+len("[]")]
	}
	switch {
	case number != "":
		port, _ = strconv.Atoi(number)
	case secure:
		port = 443
	default:
		port = 80
	}
	return name, port, nil
}

// appendFields appends the number of fields and the fields, of which none may
// begin at or beyond the limit.
func appendFields(b []byte, r *http.Request, kind bodyKind, host string, limit int) ([]byte, *exchange.Error) {
	at := len(b)
	b = appendInt(b, 0)
	n := 1
	b = appendInt(b, codeHost)
	b = appendString(b, host)
	for name, values := range r.Header {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Upgrade":
			continue // ours to say, or of the client's connection
		case "User-Agent":
			if len(values) == 1 && values[0] == "" {
				continue // how net/http says: send none
			}
		}
		code := requestNameCode(name)
		if code == 0 {
			if !httpguts.ValidHeaderFieldName(name) {
				return b, badRequest("field name is no token")
			}
			if exchange.FramesInDisguise(name) {
				return b, badRequest("field %s is not in canonical form", name)
			}
			if len(name) >= nameCode {
				return b, tooLarge(limit)
			}
		}
		for _, v := range values {
			if len(v) > maxString || len(b) > limit {
				return b, tooLarge(limit)
			}
			if !httpguts.ValidHeaderFieldValue(v) {
				return b, badRequest("value of field %s has control bytes", name)
			}
			if code != 0 {
				b = appendInt(b, code)
			} else {
				b = appendString(b, name)
			}
			b = appendString(b, v)
			n++
		}
	}
	switch {
	case kind == bodyLength:
		b = appendLength(b, r.ContentLength)
		n++
	case kind == bodyChunked:
		b = appendString(b, "Transfer-Encoding")
		b = appendString(b, "chunked")
		n++
	case r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch:
		b = appendLength(b, 0)
		n++
	}
	putInt(b[at:], n)
	return b, nil
}

// appendLength appends a Content-Length.
func appendLength(b []byte, n int64) []byte {
	b = appendInt(b, codeContentLength)
	at := len(b)
	b = appendInt(b, 0)
	b = strconv.AppendInt(b, n, 10)
	putInt(b[at:], len(b)-at-2)
	return append(b, 0)
}

// appendAttributes appends all attributes, without their end. The secret comes
// first, so that a container can refuse at once.
func appendAttributes(b []byte, f *facts, query, method string, code byte) ([]byte, *exchange.Error) {
	for _, v := range [...]string{f.secret, f.remoteUser, f.authType, f.route} {
		if err := checkAttribute(v); err != nil {
			return b, err
		}
	}
	b = appendAttribute(b, attrSecret, f.secret)
	b = appendAttribute(b, attrRemoteUser, f.remoteUser)
	b = appendAttribute(b, attrAuthType, f.authType)
	b = appendAttribute(b, attrQueryString, query)
	b = appendAttribute(b, attrRoute, f.route)
	if code == methodStored {
		b = appendAttribute(b, attrStoredMethod, method)
	}
	b = appendNamed(b, nameRemotePort, portOf(f.remoteAddr))
	b = appendNamed(b, nameLocalAddr, f.localAddr)
	if f.tls != nil {
		b = appendTLS(b, f.tls)
	}
	for _, a := range f.named {
		if a.Name == "" {
			return b, badAttribute(errors.New("attribute without a name"))
		}
		for _, v := range [...]string{a.Name, a.Value} {
			if err := checkAttribute(v); err != nil {
				return b, err
			}
		}
		b = append(b, attrNamed)
		b = appendString(b, a.Name)
		b = appendString(b, a.Value)
	}
	return b, nil
}

// checkAttribute refuses what a container could read in another way.
func checkAttribute(v string) *exchange.Error {
	switch {
	case tooLong(v):
		return badAttribute(errTooLong)
	case strings.IndexByte(v, 0) >= 0:
		return badAttribute(errors.New("attribute with a NUL"))
	}
	return nil
}

// badAttribute is the error for attributes that the embedder's code has given.
func badAttribute(err error) *exchange.Error {
	return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusInternalServerError, Err: err}
}

// appendAttribute appends an attribute unless it is empty.
func appendAttribute(b []byte, code byte, v string) []byte {
	if v == "" {
		return b
	}
	return appendString(append(b, code), v)
}

func appendNamed(b []byte, name, v string) []byte {
	if v == "" {
		return b
	}
	b = appendString(append(b, attrNamed), name)
	return appendString(b, v)
}

// emptyPacket ends the body of a request.
var emptyPacket = []byte{0x12, 0x34, 0, 0}

// bodySender sends the body of a request, on a goroutine of its own so that an
// answer that comes before the body's end is seen.
//
// A body of known length begins unasked; from then on each packet is sent when
// the container has asked for it.
type bodySender struct {
	exchange.BodySender
	c       *backend.Conn
	size    int      // of packets
	unasked bool     // the next piece goes so
	asked   chan int // of capacity 1: how many bytes the container wants
	stopped chan struct{}
}

// startSender starts sending the body of r.
func startSender(c *backend.Conn, r *http.Request, kind bodyKind, size int, hooks exchange.Hooks) *bodySender {
	s := &bodySender{c: c, size: size, unasked: kind == bodyLength, asked: make(chan int, 1), stopped: make(chan struct{})}
	s.Init(c, r, hooks)
	if s.unasked {
		s.Expect()
	}
	go func() { s.Finish(s.Copy(s)) }()
	return s
}

// errNotAsked is why a body was not sent to its end: the answer came before.
var errNotAsked = errors.New("the rest of the body was not asked for")

// body is the BodySender of a bodySender, or nil.
func (s *bodySender) body() *exchange.BodySender {
	if s == nil {
		return nil
	}
	return &s.BodySender
}

// takes hands a wish over, and reports whether the goroutine will fulfil it. It
// will not once the body has ended.
func (s *bodySender) takes(want int) bool {
	if s == nil {
		return false
	}
	if s.Ending() {
		s.Wait() // the packet that the container has read is written in a moment
		return false
	}
	select {
	case s.asked <- want:
		return true
	default:
		return false
	}
}

// overrun reports whether a wish was not taken since another is open.
func (s *bodySender) overrun() bool { return s != nil && !s.Ending() }

// stop ends the goroutine when it waits to be asked.
func (s *bodySender) stop() { close(s.stopped) }

// Room is part of [exchange.BodyFraming]. It waits until the container wants
// more.
func (s *bodySender) Room(buf []byte) ([]byte, error) {
	want := s.size
	if !s.unasked {
		select {
		case want = <-s.asked:
		case <-s.stopped:
			return nil, errNotAsked
		}
	}
	s.unasked = false
	return buf[bodyHead:min(bodyHead+want, s.size, bodyHead+32<<10)], nil
}

// Send is part of [exchange.BodyFraming].
func (s *bodySender) Send(buf, _ []byte, n int, _ bool) error {
	_, err := s.Write(bodyPacket(buf, n))
	return err
}

// bodyPacket completes the packet with n bytes of data.
func bodyPacket(packet []byte, n int) []byte {
	if n == 0 {
		return emptyPacket
	}
	putHead(packet, toContainer, n+2)
	putInt(packet[headSize:], n)
	return packet[:bodyHead+n]
}

// facts collects what the container is told of r.
func (t *Transport) facts(c *backend.Conn, r *http.Request) facts {
	ctx := r.Context()
	known := exchange.FactsOf(r, nil)
	f := facts{remoteUser: known.User, authType: known.AuthType, route: t.Route, secret: t.Secret, secure: known.Scheme == "https", tls: r.TLS}
	f.host, _ = hostField(r)
	if in := exchange.ClientRequest(ctx); in != nil && f.host == in.Host {
		f.server = known.Host // which none was set in place of
	}
	if ip := known.ClientIP(); ip != "" {
		f.remoteAddr = net.JoinHostPort(ip, portOf(known.Client))
	}
	if a, ok := ctx.Value(http.LocalAddrContextKey).(net.Addr); ok {
		f.localAddr = hostOf(a.String())
	}
	if f.remoteAddr == "" { // the client is this program, or on a unix-domain socket
		if a := c.LocalAddr(); a != nil && a.Network() == "tcp" {
			f.remoteAddr = a.String()
		} else {
			f.remoteAddr = "127.0.0.1"
		}
	}
	if t.Attributes != nil {
		f.named = t.Attributes(r)
	}
	return f
}

// hostField is the Host that the container sees. It is the client's unless one
// was set, like mod_proxy_ajp's: a servlet makes its URLs from it.
func hostField(r *http.Request) (string, error) {
	if in := exchange.ClientRequest(r.Context()); r.Host == "" && in != nil && in.Host != "" {
		r = in
	}
	return exchange.OutgoingHost(r)
}
