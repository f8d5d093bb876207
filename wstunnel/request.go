package wstunnel

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy"
)

// upgradeOf returns the protocol that a request asks to switch to, or "".
func upgradeOf(h http.Header) string {
	up := h["Upgrade"]
	if len(up) == 0 || !httpguts.HeaderValuesContainsToken(h["Connection"], "Upgrade") {
		return ""
	}
	return up[0]
}

func isWebSocket(protocol string) bool { return strings.EqualFold(protocol, "websocket") }

// handshake is what a client has asked for.
type handshake struct {
	request      *http.Request // as the client sent it
	protocol     string
	key          string // of a WebSocket, as the fields below
	subprotocols []string
	extensions   []extension
	compressed   bool // message mode: the client's side is to be
}

func badRequest(format string, args ...any) error {
	return &proxy.Error{Op: proxy.OpRequest, Status: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
}

// readHandshake checks what a client asks for. Which version of the protocol it
// may be is the backend's to say (RFC 6455 section 4.4).
func readHandshake(r *http.Request, protocol string) (*handshake, error) {
	hs := &handshake{request: r, protocol: protocol}
	if !isWebSocket(protocol) {
		return hs, nil
	}
	h := r.Header
	switch {
	case r.Method != http.MethodGet:
		return nil, badRequest("WebSocket handshake is not a GET")
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return nil, badRequest("WebSocket handshake has a body")
	case len(h[fieldKey]) != 1 || !validKey(h[fieldKey][0]):
		return nil, badRequest("WebSocket handshake has no valid key")
	case len(h[fieldVersion]) > 1:
		return nil, badRequest("WebSocket handshake has more than one version")
	}
	hs.key = h[fieldKey][0]
	var err error
	if hs.subprotocols, err = parseSubprotocols(h[fieldProtocol]); err != nil {
		return nil, badRequest("%w", err)
	}
	if hs.extensions, err = parseExtensions(h[fieldExtensions]); err != nil {
		return nil, badRequest("%w", err)
	}
	return hs, nil
}

// checkAnswer checks that a 101 answers the handshake that the request has
// asked for, and nothing else (RFC 6455 section 4.1).
func checkAnswer(request, answer http.Header) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{proxy.ErrMalformed}, args...)...)
	}
	key := request[fieldKey]
	if accept := answer[fieldAccept]; len(key) != 1 || len(accept) != 1 || trim(accept[0]) != acceptOf(key[0]) {
		return refuse("Sec-WebSocket-Accept does not answer the key")
	}
	offered, err := parseSubprotocols(request[fieldProtocol])
	if err != nil {
		return err
	}
	switch chosen := answer[fieldProtocol]; {
	case len(chosen) > 1:
		return refuse("backend chose more than one subprotocol")
	case len(chosen) == 1 && !slices.Contains(offered, trim(chosen[0])):
		return refuse("backend chose a subprotocol that was not offered")
	}
	extensions, err := parseExtensions(answer[fieldExtensions])
	if err != nil {
		return refuse("%w", err)
	}
	offers, err := parseExtensions(request[fieldExtensions])
	if err != nil {
		return err
	}
	open := make(map[string]bool, len(offers)) // those that may still be chosen
	for _, o := range offers {
		open[strings.ToLower(o.name)] = true
	}
	for _, e := range extensions {
		name := strings.ToLower(e.name)
		mayBe, offered := open[name]
		switch {
		case !offered:
			return refuse("backend chose an extension that was not offered")
		case !mayBe:
			return refuse("backend chose an extension twice")
		}
		open[name] = false
	}
	return nil
}
