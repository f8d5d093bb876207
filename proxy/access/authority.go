package access

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/exchange"
)

// ParseAuthority reads a target in authority-form, "host:port", as CONNECT
// has it (RFC 9112 section 3.2.3): the port is required, an IPv6 address stands
// in brackets. The host comes back in the one form in which it is compared: a
// name in lower case without a dot at its end, an address as netip writes it.
//
// What some resolvers take for an address and rules do not see as one, such as
// 127.1, 0x7f.0.0.1 and 2130706433, is malformed, as is a zone. Errors are a
// [*exchange.Error] with status 400.
func ParseAuthority(s string) (host string, port uint16, err error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.IndexByte(s[i:], ']') >= 0 {
		return "", 0, exchange.BadRequest("target has no port")
	}
	port, ok := parsePort(s[i+1:])
	if !ok {
		return "", 0, exchange.BadRequest("target has no port from 1 to 65535")
	}
	host, err = parseHost(s[:i])
	return host, port, err
}

// URLAuthority returns host and port of a URL, with the default of its scheme.
func URLAuthority(u *url.URL) (host string, port uint16, err error) {
	if u == nil {
		return "", 0, exchange.BadRequest("there is no URL")
	}
	hostport := u.Host
	if u.Port() == "" {
		hostport = strings.TrimSuffix(hostport, ":") + ":" + backend.DefaultPort(u.Scheme)
	}
	return ParseAuthority(hostport)
}

// parseHost reads a name, an IPv4 address or an IPv6 address in brackets.
func parseHost(s string) (string, error) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", exchange.BadRequest("target has no IPv6 address in its brackets")
		}
		return addr.String(), nil
	}
	if addr, err := netip.ParseAddr(s); err == nil && addr.Is4() {
		return s, nil
	}
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if !isHostName(s) {
		return "", exchange.BadRequest("target has no host")
	}
	if last := s[strings.LastIndexByte(s, '.')+1:]; isNumber(last) {
		return "", exchange.BadRequest("target ends in a number, but is no address in dotted decimal form")
	}
	return s, nil
}

// isHostName accepts what may be a name in the DNS or in a hosts file.
func isHostName(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return true
}

// isNumber reports whether the last part of a name makes old resolvers read
// the whole of it as an IPv4 address.
func isNumber(s string) bool {
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// JoinAuthority is the opposite of [ParseAuthority].
func JoinAuthority(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
