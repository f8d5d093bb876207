package exchange

import (
	"crypto/tls"
)

// TLSProtocol returns the name that mod_ssl gives a version of TLS in
// SSL_PROTOCOL, such as "TLSv1.3"; that of [tls.VersionName] for one it does not
// know.
func TLSProtocol(version uint16) string {
	switch version {
	case tls.VersionTLS10:
		return "TLSv1"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return tls.VersionName(version)
}
