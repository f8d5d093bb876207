package wstunnel

import (
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/modproxy/modproxy/proxy/exchange"
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
	return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
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
