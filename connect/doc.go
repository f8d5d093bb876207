// Package connect opens tunnels by CONNECT, at both ends: for forward proxies, whose
// clients reach https sites that way, and for programs that have to go by a parent
// proxy. A reverse proxy needs it only when its backends are behind one.
//
// CONNECT is that of RFC 9110 section 9.3.6: a [Handler] answers the clients of a
// forward proxy, and a [Dialer] goes through a parent proxy.
//
//	client ──CONNECT host:443──► Handler ──DialContext──► host:443
//	client ◄──200───────────────
//	client ◄═══════════ bytes, both ways, until both have ended ═══════════►
//
//	Handler ──DialContext──► Dialer ──CONNECT host:443──► parent ──► host:443
//
// A forward proxy for the office, for plain requests and for tunnels:
//
//	f := &proxy.Forward{Clients: &access.Clients{Access: &access.Access{Allow: office}}}
//	f.Connect = &connect.Handler{DialContext: f.DialContext}
//	if err := f.Validate(); err != nil {
//		log.Fatal(err)
//	}
//	log.Fatal(http.ListenAndServe("192.168.1.1:3128", f))
//
// # What happens to a request
//
// Who asks is held against Clients, the port against Ports, the name against
// Destinations; the name is resolved once, each address held against
// Destinations, and one of those dialled. Then the client gets "200 Connection
// Established" and, first of all, the destination gets what the client has
// sent early. When one side has sent its last byte, the other may go on: over
// HTTP/1.1 each direction ends by itself. Over HTTP/2 a tunnel is a stream,
// which ends with the destination's last byte.
//
//	200  the tunnel is open
//	400  the target is no host:port
//	403  port, name or address is not allowed, or the client is not
//	407  credentials are wanted
//	429  the client has too many tunnels
//	503  the destination refused, is unreachable, or its name does not resolve;
//	     or there are too many tunnels
//	504  the destination did not answer in time
//	508  the request has passed here before
//
// A parent proxy's refusal is passed on as it is.
//
// # Concurrency
//
// Handlers, Dialers and Transports may be used by any number of goroutines
// once their fields are set. A tunnel between two bare sockets costs no goroutine
// on Linux, where one waits for many; any other has two. None has a buffer while
// nothing moves; see [tunnel.Registry].
//
// # Timeouts
//
// DialTimeout until the tunnel is open, then IdleTimeout while nothing moves,
// and MaxLife in all. http.Server's timeouts end with the head of the request.
// http.Server.Shutdown does not know tunnels: call [Handler.Shutdown], too.
//
// # Security
//
// A Handler serves nobody by default, no port but 443 and 563, and no private
// address: see [access.Clients] and [access.Destinations]. What is inside of a
// tunnel is not looked at.
//
// # Differences from Apache
//
// Private addresses are refused unless they are allowed, clients are refused
// unless a rule admits them, loops are found, the answer is HTTP/1.1, and a
// CONNECT over HTTP/2 works as well.
package connect
