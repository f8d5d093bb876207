// Package proxyprotocol is for those whose server stands behind a load balancer
// that tells who the client is by HAProxy's PROXY protocol: a [Listener] reads the
// header that such a peer sends first, in version 1 or 2, and the connections that
// it returns have the client's address. Toward backends the protocol is spoken by
// [github.com/modproxy/modproxy/proxy/backend.Backend], which encodes its headers
// here.
//
//	                 ┌─ peer not in Trusted, or in Exceptions ──► its own connection, as it is
//	Listener.Accept ─┤
//	                 └─ trusted ──► header within HeaderTimeout ──► *Conn, with the client's address
//	                                     │ malformed, late or missing
//	                                     └──► closed, and logged
//
// A whole server:
//
//	ln, err := net.Listen("tcp", ":443")
//	if err != nil { … }
//	pl := &proxyprotocol.Listener{Listener: ln, Trusted: prefixes}
//	err = server.ServeTLS(pl, "cert.pem", "key.pem") // HTTP/2, too
//
// TLS is spoken behind the header, so the [Listener] stands below it. What else the
// peer tells (the name that the client asked for, a unique id, the TLS that the peer
// spoke with it) is in the [Header]; [HeaderOf] finds it in ConnContext of an
// http.Server.
//
// # Concurrency
//
// All methods of a Listener may be called from any goroutine. Each header is read
// by a goroutine of its own, so that a peer that sends none holds up nobody else.
//
// # Costs
//
// Reading stops with the last byte of a header. Behind it the connection is the
// socket itself: net/http, and tunnels, move bytes inside the kernel as without a
// Listener. A header takes memory as it comes, not as it announces.
//
// # Security
//
// Whoever may send a header may claim any address. So nobody is trusted unless he
// is named, and a trusted peer has to send one: with Optional, whoever can make it
// pass on bytes as they are can claim an address. Malformed headers are not guessed
// at, checksums (CRC32C) are verified, and names of interfaces in addresses are
// refused.
package proxyprotocol
