package wstunnel

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// The fields of the handshake (RFC 6455 section 11.3), as net/http spells them.
const (
	fieldKey        = "Sec-Websocket-Key"
	fieldAccept     = "Sec-Websocket-Accept"
	fieldExtensions = "Sec-Websocket-Extensions"
	fieldProtocol   = "Sec-Websocket-Protocol"
	fieldVersion    = "Sec-Websocket-Version"
)

// acceptOf returns what a server answers to a key (RFC 6455 section 4.2.2).
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// validKey reports whether key is 16 bytes in base64.
func validKey(key string) bool {
	b, err := base64.StdEncoding.Strict().DecodeString(key)
	return err == nil && len(b) == 16 && len(key) == 24
}

// parseSubprotocols reads the values of Sec-WebSocket-Protocol: tokens, each
// once.
func parseSubprotocols(values []string) ([]string, error) {
	var list []string
	seen := make(map[string]bool)
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			name := trim(part)
			switch {
			case name == "": // RFC 9110 section 5.6.1 has empty members ignored
				continue
			case !httpguts.ValidHeaderFieldName(name):
				return nil, errors.New("subprotocol is no token")
			case seen[name]:
				return nil, errors.New("subprotocol is named twice")
			}
			list, seen[name] = append(list, name), true
		}
	}
	return list, nil
}

// extension is one member of Sec-WebSocket-Extensions.
type extension struct {
	name   string
	params []param
}

type param struct {
	name, value string
	valued      bool
}

// parseExtensions reads the values of Sec-WebSocket-Extensions (RFC 6455
// section 9.1).
func parseExtensions(values []string) ([]extension, error) {
	var list []extension
	for _, v := range values {
		for rest := trim(v); rest != ""; {
			if rest[0] == ',' {
				rest = trim(rest[1:])
				continue
			}
			var e extension
			var err error
			if e, rest, err = cutExtension(rest); err != nil {
				return nil, err
			}
			list = append(list, e)
		}
	}
	return list, nil
}

var errExtensions = errors.New("list of extensions is malformed")

// cutExtension reads one extension and its parameters off the front of s.
func cutExtension(s string) (e extension, rest string, err error) {
	if e.name, s = cutToken(s); e.name == "" {
		return e, "", errExtensions
	}
	for {
		s = trim(s)
		if s == "" || s[0] == ',' {
			return e, s, nil
		}
		if s[0] != ';' {
			return e, "", errExtensions
		}
		var p param
		if p.name, s = cutToken(trim(s[1:])); p.name == "" {
			return e, "", errExtensions
		}
		if after, ok := strings.CutPrefix(trim(s), "="); ok {
			p.valued = true
			if p.value, s, ok = cutValue(trim(after)); !ok {
				return e, "", errExtensions
			}
		}
		e.params = append(e.params, p)
	}
}

// cutValue reads a token, or a quoted string whose content is one.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		value, rest = cutToken(s)
		return value, rest, value != ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			value = b.String()
			return value, s[i+1:], httpguts.ValidHeaderFieldName(value)
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

func cutToken(s string) (token, rest string) {
	i := 0
	for i < len(s) && httpguts.IsTokenRune(rune(s[i])) {
		i++
	}
	return s[:i], s[i:]
}

func trim(s string) string { return strings.Trim(s, " \t") }

// deflate is the extension of RFC 7692, without context from one message to the
// next: it is what both ends of message mode can speak.
const deflate = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// acceptsDeflate reports whether an offer of a client can be answered with
// deflate (RFC 7692 section 7.1).
func (e extension) acceptsDeflate() bool {
	if !strings.EqualFold(e.name, "permessage-deflate") {
		return false
	}
	for i, p := range e.params {
		if slices.ContainsFunc(e.params[:i], func(q param) bool { return q.name == p.name }) {
			return false
		}
		switch p.name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if p.valued {
				return false
			}
		case "client_max_window_bits":
			if p.valued && !windowBits(p.value) {
				return false
			}
		case "server_max_window_bits":
			if p.value != "15" { // a smaller window is more than can be promised
				return false
			}
		default:
			return false
		}
	}
	return true
}

// checkDeflate checks a backend's answer to the offer deflate.
func (e extension) checkDeflate() error {
	fresh := false
	for i, p := range e.params {
		if slices.ContainsFunc(e.params[:i], func(q param) bool { return q.name == p.name }) {
			return fmt.Errorf("parameter of %s is given twice", e.name)
		}
		switch {
		case p.name == "server_no_context_takeover" && !p.valued:
			fresh = true
		case p.name == "client_no_context_takeover" && !p.valued:
		case p.name == "server_max_window_bits" && windowBits(p.value):
		default:
			return fmt.Errorf("parameter of %s was not offered", e.name)
		}
	}
	if !fresh {
		return fmt.Errorf("%s without server_no_context_takeover, which was asked for", e.name)
	}
	return nil
}

func windowBits(v string) bool {
	switch v {
	case "8", "9", "10", "11", "12", "13", "14", "15":
		return true
	}
	return false
}
