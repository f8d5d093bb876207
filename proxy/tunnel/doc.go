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
// On Linux, plain sockets are served by one goroutine for many, and what comes
// in bulk is moved inside the kernel.
package tunnel
