package exchange

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"github.com/modproxy/modproxy/proxy/backend"
	"github.com/modproxy/modproxy/proxy/internal/syntax"
)

// ErrHost is wrapped by the errors for a Host that is none; see [ParseHost].
var ErrHost = errors.New("host is not of the form name:port")

// ParseHost takes a Host apart, whether it came as Host, in an absolute URL or
// as :authority: uri-host [ ":" port ] of RFC 9110 section 7.2. The name comes
// back as it was written, an IPv6 address without its brackets, and the port
// without the colon. It is the one judge of what a valid Host is:
//
//   - A name has letters, digits, "-._~", "!$&'()*+,;=" and triples %XX: the
//     reg-name of RFC 3986, which says nothing of the DNS.
//   - An IPv6 address stands in brackets and has no zone, which means nothing to
//     anybody but the machine that it is of.
//   - A port is a number up to 65535; "name:" names none.
//   - The empty Host is valid. It is that of a client that names none, as in
//     HTTP/1.0. A port without a name is not.
//
// Errors are a [*Error] with status 400 that wraps [ErrHost].
func ParseHost(s string) (name, port string, err error) {
	if s == "" {
		return "", "", nil
	}
	rest := ""
	if s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 || !isIPLiteral(s[1:end]) {
			return "", "", BadRequest("%w", ErrHost)
		}
		name, rest = s[1:end], s[end+1:]
	} else {
		end := endOfName(s)
		if end == 0 {
			return "", "", BadRequest("%w", ErrHost)
		}
		name, rest = s[:end], s[end:]
	}
	port, colon := strings.CutPrefix(rest, ":")
	if rest != "" && !colon || port != "" && !isPortNumber(port) {
		return "", "", BadRequest("%w", ErrHost)
	}
	return name, port, nil
}

// endOfName returns where the reg-name at the beginning of s ends.
func endOfName(s string) int {
	i := 0
	for i < len(s) {
		switch {
		case nameBytes[s[i]]:
			i++
		case s[i] == '%':
			if _, ok := syntax.TripleAt(s, i); !ok {
				return i
			}
			i += 3
		default:
			return i
		}
	}
	return i
}

// nameBytes marks unreserved and sub-delims of RFC 3986.
var nameBytes = syntax.AlphanumericAnd("-._~!$&'()*+,;=")

// isIPLiteral judges what stands in brackets: an IPv6 address, or one of a
// version to come.
func isIPLiteral(s string) bool {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Is6() && addr.Zone() == ""
	}
	version, address, ok := strings.Cut(s, ".")
	if !ok || len(version) < 2 || version[0]|0x20 != 'v' || address == "" {
		return false
	}
	for i := 1; i < len(version); i++ {
		if _, ok := syntax.HexDigit(version[i]); !ok {
			return false
		}
	}
	for i := 0; i < len(address); i++ {
		if !nameBytes[address[i]] && address[i] != ':' {
			return false
		}
	}
	return true
}

// isPortNumber accepts digits, with zeros in front or without, up to 65535.
func isPortNumber(s string) bool {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		if n = 10*n + int(s[i]-'0'); n > 65535 {
			return false
		}
	}
	return true
}

// NormalHost returns a Host in the one form in which hosts are compared, and are
// part of keys: in lower case, an IPv6 address as netip writes it, and without
// the port that scheme has by default. What is no Host comes back as it is.
func NormalHost(scheme, host string) string {
	name, port, err := ParseHost(host)
	if err != nil || name == "" {
		return host
	}
	host, name = strings.ToLower(host), strings.ToLower(name)
	number := strings.TrimLeft(port, "0")
	switch {
	case port == "":
	case number == backend.DefaultPort(scheme):
		port = ""
	case number == "":
		port = "0"
	default:
		port = number
	}
	switch {
	case host[0] == '[':
		if addr, err := netip.ParseAddr(name); err == nil {
			name = addr.String()
		}
		if name = "[" + name + "]"; port == "" {
			return name
		}
		return name + ":" + port
	case port == "":
		return name
	case len(name)+len(":")+len(port) == len(host):
		return host
	}
	return name + ":" + port
}

// CheckHost is the door of a server: it refuses a request whose Host is none,
// wherever it came from, by what [ParseHost] says. One field Host may stand beside
// it, as in HTTP/2, if it says the same. Errors are a [*Error] with status 400
// that wraps [ErrHost].
func CheckHost(r *http.Request) error {
	if _, _, err := ParseHost(r.Host); err != nil {
		return err
	}
	if at := r.URL.Host; at != "" && at != r.Host {
		if _, _, err := ParseHost(at); err != nil {
			return err
		}
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if fields := r.Header["Host"]; len(fields) > 1 || len(fields) == 1 && fields[0] != r.Host &&
		NormalHost(scheme, fields[0]) != NormalHost(scheme, r.Host) {
		return BadRequest("%w: there are two that say something else", ErrHost)
	}
	return nil
}

// OutgoingHost returns what a transport tells a backend as Host: the request's
// own, or else that of its URL, without the zone of an address (RFC 6874 section
// 4) and, as Apache's, without port 80 where that is the usual one. An error is a [*Error] with status 400 that wraps [ErrHost].
func OutgoingHost(r *http.Request) (string, error) {
	host := r.Host
	if host == "" {
		host = withoutZone(r.URL.Host)
		if strings.HasSuffix(host, ":80") && backend.DefaultPort(r.URL.Scheme) == "80" {
			host = host[:len(host)-len(":80")]
		}
	}
	_, _, err := ParseHost(host)
	return host, err
}

// withoutZone takes the zone off an IPv6 address in the host of a URL.
func withoutZone(host string) string {
	if host == "" || host[0] != '[' {
		return host
	}
	zone, end := strings.IndexByte(host, '%'), strings.IndexByte(host, ']')
	if zone < 0 || end < zone {
		return host
	}
	return host[:zone] + host[end:]
}
