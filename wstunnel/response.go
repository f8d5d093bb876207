package wstunnel

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// checkAnswer checks that a 101 answers the handshake that the request has
// asked for, and nothing else (RFC 6455 section 4.1).
func checkAnswer(request, answer http.Header) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{exchange.ErrMalformed}, args...)...)
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

// check refuses a switch that was not asked for.
func (t *Transport) check(r *http.Request, resp *http.Response, protocol string) error {
	if _, ok := resp.Body.(io.ReadWriteCloser); !ok {
		return fmt.Errorf("the body of the 101 cannot be written")
	}
	if protocol == "" || !strings.EqualFold(upgradeOf(resp.Header), protocol) {
		return fmt.Errorf("%w: backend switched to a protocol that was not asked for", exchange.ErrMalformed)
	}
	if isWebSocket(protocol) {
		return checkAnswer(r.Header, resp.Header)
	}
	return nil
}
