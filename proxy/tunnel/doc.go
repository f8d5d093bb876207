// Package tunnel is for those who write a handler that takes connections over, or
// wait for tunnels (WebSockets, CONNECT) at shutdown: it joins two connections,
// moves the bytes both ways, closes each end when the other one is, within limits
// of time, and counts. The handlers of this library use it by themselves, and take
// a [Registry].
//
//	client ◄═══ Registry.Start(Tunnel{Client, Backend, limits}) ═══► backend
//	                │
//	                ├─ Stats, List: what runs, what has passed
//	                └─ Shutdown: who knows how to leave is asked to, all others are waited for
//
// A side that is gone while what it has sent cannot be written, since the other
// does not read, ends the tunnel some 5 s later: a stream of HTTP/2 everywhere,
// and on Linux a TCP connection that was reset and a unix socket that was closed,
// under TLS too. An end of its bytes alone, which a TCP client that closes sends
// as well as one that half-closes, leaves the tunnel to HalfCloseTimeout and
// IdleTimeout, and is seen only once all that stands before it has come in.
//
// On Linux, plain sockets are served by one goroutine for many, and what comes
// in bulk is moved inside the kernel.
package tunnel
