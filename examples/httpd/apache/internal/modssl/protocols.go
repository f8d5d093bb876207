package modssl

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
)

// Protocols are the versions of TLS that SSLProtocol leaves. Those before TLS 1.2
// are in it only if they are named: "all" does not mean them, since OpenSSL 3, too,
// speaks them at security level 0 alone.
type Protocols struct {
	versions [4]bool // TLS 1.0 first
}

var protocolNames = [4]string{"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}

const firstVersion = tls.VersionTLS10

// ParseProtocols reads "[+-]protocol …" as SSLProtocol does: from left to right, and
// a word without a sign takes the place of all before it. What it says beside the
// result may surprise, but is what httpd does.
func ParseProtocols(words []string) (p Protocols, warnings []string, err error) {
	for i, word := range words {
		sign, name := byte(0), word
		if word != "" && (word[0] == '+' || word[0] == '-') {
			sign, name = word[0], word[1:]
		}
		if strings.EqualFold(name, "SSLv2") || strings.EqualFold(name, "SSLv3") {
			if sign != '-' {
				return p, nil, fmt.Errorf("%s is not safe, and not spoken", name)
			}
			continue
		}
		var named [4]bool
		known := false
		if strings.EqualFold(name, "all") {
			named, known = [4]bool{2: true, 3: true}, true
			if sign == '-' {
				named = [4]bool{true, true, true, true}
			}
		}
		for v, version := range protocolNames {
			if strings.EqualFold(name, version) {
				named[v], known = true, true
			}
		}
		if !known {
			return p, nil, fmt.Errorf("protocol %q is not known", name)
		}
		if sign == 0 {
			if i > 0 && p != (Protocols{}) {
				warnings = append(warnings, fmt.Sprintf("%s takes the place of all before it; perhaps + is missing", word))
			}
			p = Protocols{}
		}
		for v := range named {
			if named[v] {
				p.versions[v] = sign != '-'
			}
		}
	}
	if p == (Protocols{}) {
		return p, warnings, errors.New("no protocol is left")
	}
	return p, warnings, nil
}

// Without returns the protocols from TLS 1.2 on, and the names of those left out.
func (p Protocols) Without() (modern Protocols, old []string) {
	modern = p
	for v := range 2 {
		if p.versions[v] {
			old = append(old, protocolNames[v])
		}
		modern.versions[v] = false
	}
	return modern, old
}

// Range returns the lowest and the highest version for a tls.Config.
func (p Protocols) Range() (low, high uint16, err error) {
	for v, on := range p.versions {
		version := firstVersion + uint16(v)
		switch {
		case !on:
		case low == 0:
			low, high = version, version
		case high+1 == version:
			high = version
		default:
			return 0, 0, fmt.Errorf("the protocols do not follow each other: %s is missing", protocolNames[high+1-firstVersion])
		}
	}
	if low == 0 {
		return 0, 0, errors.New("no protocol is left")
	}
	return low, high, nil
}
