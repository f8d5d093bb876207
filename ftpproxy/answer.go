package ftpproxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/proxy"
)

// whole is a body that was read from the server before the answer.
type whole struct{ *bytes.Reader }

// Close has nothing to close.
func (whole) Close() error { return nil }

func wholeBody(b []byte) whole { return whole{bytes.NewReader(b)} }

func isWhole(b io.ReadCloser) bool {
	_, ok := b.(whole)
	return ok
}

// respond makes a response. A length below zero is unknown.
func respond(r *http.Request, status int, h http.Header, body io.ReadCloser, length int64) *http.Response {
	resp := &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: body, ContentLength: length, Request: r,
	}
	if length >= 0 && status != http.StatusNotModified && status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	}
	if r.Method == http.MethodHead {
		resp.Body = http.NoBody
	}
	return resp
}

// say makes a short answer of our own.
func say(r *http.Request, status int, h http.Header) *http.Response {
	if status == http.StatusNotModified || status == http.StatusNoContent {
		return respond(r, status, h, http.NoBody, 0)
	}
	text := fmt.Sprintf("%d %s\n", status, http.StatusText(status))
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	return respond(r, status, h, wholeBody([]byte(text)), int64(len(text)))
}

// allows reports whether a method may be used on what the URL names.
func (t *Transport) allows(method string, at target) bool {
	switch method {
	case http.MethodGet, http.MethodHead, "":
		return true
	case http.MethodPut:
		return t.AllowPut && at.name != ""
	case http.MethodDelete:
		return t.AllowDelete && at.name != ""
	}
	return false
}

func (t *Transport) notAllowed(r *http.Request, at target) *http.Response {
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
		if t.allows(m, at) {
			allow = append(allow, m)
		}
	}
	return say(r, http.StatusMethodNotAllowed, http.Header{"Allow": {strings.Join(allow, ", ")}})
}

// loginRefused asks for credentials where the client can give other ones.
func (x *attempt) loginRefused() *http.Response {
	if x.who.from == fromURL || x.who.from == fromConfiguration || x.t.IgnoreAuthorization {
		return say(x.r, http.StatusForbidden, http.Header{})
	}
	realm := x.t.Realm
	if realm == "" {
		realm = x.c.Backend().URL.Host
	}
	realm = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(realm)
	return say(x.r, http.StatusUnauthorized, http.Header{"Www-Authenticate": {`Basic realm="` + realm + `", charset="UTF-8"`}})
}

// notFound answers for a name that names nothing.
func (x *attempt) notFound() *http.Response {
	return say(x.r, http.StatusNotFound, http.Header{})
}

// toSlash redirects to the path of a directory.
func (x *attempt) toSlash() *http.Response {
	return say(x.r, http.StatusMovedPermanently, http.Header{"Location": {"./" + lastSegment(x.escapedClientPath()) + "/"}})
}

// refusedPath answers a refusal of a path by the server, or words it as a
// failure.
func (x *attempt) refusedPath(at phase, err error) (*http.Response, *proxy.Error) {
	e := x.failed(at, err)
	if e.Status >= 400 && e.Status < 500 && x.s.ctl.failure == nil {
		return say(x.r, e.Status, http.Header{}), nil
	}
	return nil, e
}
