// Package tunnel joins two connections: bytes both ways, each end closed when
// the other one is, within limits of time, counted, and ended together at
// shutdown. Who writes a handler that takes connections over needs it; the
// handlers of this library for upgrades, WebSockets and CONNECT use it
// by themselves, and take a [Registry] so that a server can wait for its tunnels.
//
//	client ◄═══ Registry.Start(Tunnel{Client, Backend, limits}) ═══► backend
//	                │
//	                ├─ Stats, List: what runs, what has passed
//	                └─ Shutdown: who knows how to leave is asked to, all others are waited for
//
// On Linux, plain sockets are served by one goroutine for many, and what comes
// in bulk is moved inside the kernel.
package tunnel
