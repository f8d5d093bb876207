// Package modssl says what the words of mod_ssl mean for crypto/tls: protocols,
// OpenSSL's cipher strings, certificates in files that change, clients'
// certificates, OCSP staples, and the variables SSL_….
//
//	SSLProtocol, SSLCipherSuite ──► ParseProtocols, ParseCiphers ──┐
//	SSLCertificateFile ──► Pair (read again when it changes)       ├──► tls.Config
//	                        └── Stapler (OCSP, in the background)  │
//	SSLVerifyClient, SSLCA… ──► Verifier ──────────────────────────┘
//	a connection at work ──► Connection.Variable ──► SSL_CIPHER, SSL_CLIENT_S_DN_CN, …
//
// It knows neither sites nor requests: who serves what is the caller's affair.
package modssl
