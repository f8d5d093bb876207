package ajp

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/access"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// forwardRequest is what a FORWARD_REQUEST packet says.
type forwardRequest struct {
	method, protocol, uri  string
	remoteAddr, serverName string
	serverPort             int
	secure                 bool
	header                 http.Header
	query                  string
	hasQuery               bool
	secret                 string
	sslCert                string
	user, authType         string
	attributes             Attributes
}

// parseForwardRequest reads the payload of a FORWARD_REQUEST packet, behind
// its type, and refuses what could be read in two ways.
func parseForwardRequest(text string, fr *forwardRequest) error {
	d := decoder{s: text}
	code := d.byte()
	fr.protocol, _ = d.string()
	fr.uri, _ = d.string()
	fr.remoteAddr, _ = d.string()
	_, _ = d.string() // remote_host
	fr.serverName, _ = d.string()
	fr.serverPort = d.int()
	fr.secure = d.byte() != 0
	if code >= 1 && int(code) <= len(methods) {
		fr.method = methods[code-1]
	} else if code != methodStored {
		d.fail(malformed("unknown code of a method"))
	}
	if err := parseRequestFields(&d, fr); err != nil {
		return err
	}
	for d.err == nil {
		if fr.attribute(&d, d.byte()) {
			break
		}
	}
	switch {
	case d.err != nil:
		return d.err
	case d.s != "":
		return malformed("bytes behind the attributes")
	case !httpguts.ValidHeaderFieldName(fr.method):
		return malformed("method is no token")
	}
	return nil
}

func parseRequestFields(d *decoder, fr *forwardRequest) error {
	n := d.int()
	if d.err != nil {
		return d.err
	}
	header, err := d.fields(n, requestNames[:])
	fr.header = header
	return err
}

// attribute takes one attribute, and reports whether it was their end.
func (fr *forwardRequest) attribute(d *decoder, code byte) (end bool) {
	a := &fr.attributes
	switch code {
	case attrEnd:
		return true
	case attrContext, attrServletPath:
		_, _ = d.string()
	case attrRemoteUser:
		fr.user, _ = d.string()
	case attrAuthType:
		fr.authType, _ = d.string()
	case attrQueryString:
		fr.query, fr.hasQuery = d.string()
	case attrRoute:
		a.Route, _ = d.string()
	case attrSSLCert:
		fr.sslCert, _ = d.string()
	case attrSSLCipher:
		a.SSLCipher, _ = d.string()
	case attrSSLSession:
		a.SSLSession, _ = d.string()
	case attrSSLKeySize:
		a.SSLKeySize = d.int()
	case attrSecret:
		fr.secret, _ = d.string()
	case attrStoredMethod:
		fr.method, _ = d.string()
	case attrNamed:
		name, ok := d.string()
		value, _ := d.string()
		if !ok || name == "" {
			d.fail(malformed("attribute without a name"))
		}
		fr.named(name, value)
	default:
		if d.err == nil { // its length is unknown
			d.fail(malformed("attribute of unknown code"))
		}
	}
	return d.err != nil
}

func (fr *forwardRequest) named(name, value string) {
	a := &fr.attributes
	switch name {
	case nameRemotePort:
		a.RemotePort = value
	case nameLocalAddr:
		a.LocalAddr = value
	case nameSSLProtocol:
		a.SSLProtocol = value
	default:
		a.Named = append(a.Named, Attribute{name, value})
	}
}

// admit checks what a request must and must not bring along.
func (s *Server) admit(fr *forwardRequest) (status int, why string) {
	if s.Secret != "" {
		got, want := sha256.Sum256([]byte(fr.secret)), sha256.Sum256([]byte(s.Secret))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			return http.StatusForbidden, "wrong secret"
		}
	}
	for _, a := range fr.attributes.Named {
		if a.Name == "JK_LB_ACTIVATION" { // of mod_jk, with each request
			continue
		}
		if s.AllowAttribute == nil || !s.allows(a.Name) {
			return http.StatusForbidden, "named attribute that is not allowed"
		}
	}
	return 0, ""
}

// allows asks AllowAttribute. If that panics, the process goes on, as after a
// panic of the handler.
func (s *Server) allows(name string) (ok bool) {
	defer func() {
		if p := recover(); p != nil && s.Logger != nil {
			s.Logger.Error("ajp: AllowAttribute panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	return s.AllowAttribute(name)
}

// newRequest makes the request for the handler.
func (c *serverConn) newRequest(ctx context.Context, fr *forwardRequest) (*http.Request, error) {
	ctx = context.WithValue(ctx, attributesKey{}, &fr.attributes)
	if ip := net.ParseIP(fr.attributes.LocalAddr); ip != nil {
		ctx = context.WithValue(ctx, http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: ip, Port: fr.serverPort}))
	}
	uri := fr.uri
	if fr.hasQuery && fr.query != "" {
		uri += "?" + fr.query
	}
	if hasBlankOrControl(uri) {
		return nil, malformed("target has blanks or control bytes")
	}
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	if u.Scheme != "" || u.Host != "" || fr.uri[0] != '/' && fr.uri != "*" {
		return nil, malformed("target is no path")
	}
	major, minor, ok := http.ParseHTTPVersion(fr.protocol)
	if !ok {
		return nil, malformed("protocol is no version of HTTP")
	}
	host, err := fr.host()
	if err != nil {
		return nil, err
	}
	header := fr.header
	r := (&http.Request{
		Method: fr.method, URL: u, Proto: fr.protocol, ProtoMajor: major, ProtoMinor: minor, Header: header,
		Host: host, RequestURI: uri, RemoteAddr: c.remoteAddr(fr), Body: http.NoBody,
	}).WithContext(ctx)
	delete(header, "Host")
	if fr.user != "" {
		r = access.WithUser(r, fr.user, fr.authType)
	}
	if fr.secure {
		r.TLS = c.tlsState(fr)
	}
	return r, c.frame(r)
}

// host is that of the Host field, or else what the proxy calls the server. Both
// must be valid: the name of the server is what its TLS connection was for.
func (fr *forwardRequest) host() (string, error) {
	name := strings.Trim(fr.serverName, "[]")
	if strings.IndexByte(name, ':') >= 0 {
		name = "[" + name + "]"
	}
	if _, port, err := exchange.ParseHost(name); err != nil || port != "" {
		return "", malformed("name of the server is none")
	}
	switch fields := fr.header["Host"]; len(fields) {
	case 0:
	case 1:
		_, _, err := exchange.ParseHost(fields[0])
		return fields[0], err
	default:
		return "", malformed("more than one field Host")
	}
	if name == "" || fr.serverPort == 0 || fr.serverPort == 80 && !fr.secure || fr.serverPort == 443 && fr.secure {
		return name, nil
	}
	return name + ":" + strconv.Itoa(fr.serverPort), nil
}

func (c *serverConn) remoteAddr(fr *forwardRequest) string {
	if fr.remoteAddr == "" {
		return c.nc.RemoteAddr().String()
	}
	port := fr.attributes.RemotePort
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		port = "0"
	}
	return net.JoinHostPort(fr.remoteAddr, port)
}

// frame finds out how the body comes. A request that could be read in two ways
// is refused.
func (c *serverConn) frame(r *http.Request) error {
	h := r.Header
	te, chunked := h["Transfer-Encoding"]
	_, sized := h["Content-Length"]
	switch {
	case chunked && sized:
		return malformed("Content-Length beside Transfer-Encoding")
	case chunked && (len(te) != 1 || !strings.EqualFold(te[0], "chunked")):
		return malformed("transfer coding other than chunked")
	case chunked:
		delete(h, "Transfer-Encoding")
		r.TransferEncoding = []string{"chunked"}
		r.ContentLength = -1
		r.Body = &serverBody{c: c, left: -1}
	case sized:
		head := answerHead{header: h}
		n, err := head.contentLength()
		if err != nil {
			return err
		}
		r.ContentLength = n
		if n > 0 {
			r.Body = &serverBody{c: c, left: n, unasked: true}
		}
	}
	return nil
}
