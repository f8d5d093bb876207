// Package halfclose is for those whose http.Server has clients that end their side
// of the connection behind the request, and wait for the answer: "nc -N", BusyBox
// wget, and scripts of a few lines. An http.Server takes the end of what it reads
// for a client that has left, and ends the request's context, so that a proxy gives
// the backend's answer up. Behind a [Listener], as behind Apache or HAProxy, such a
// client is answered.
//
//	the client sends      the request's context
//	FIN, and keeps on ──► goes on; ends after Timeout in which the client takes no byte
//	RST               ──► ends at once
//	FIN, and is gone  ──► goes on until the first byte of the answer, which brings a RST
//	                      back; or for Timeout, if there is none
//
// A whole server:
//
//	ln, err := net.Listen("tcp", ":8080")
//	if err != nil { … }
//	err = server.Serve(&halfclose.Listener{Listener: ln})
//
// This is the price: the kernel tells nobody whether a FIN was that of a half-close
// or of a close. A client that gives up keeps its backend busy for Timeout, where
// without the Listener the backend is told at once. So it is for those who have such
// clients, and for nobody by default. Without a Timeout, what is left is TCP
// keep-alive, which net.Listen turns on: the kernel of a client that has closed
// answers it with a RST once it has forgotten the connection, on Linux after 60 s.
//
// All else is as without: a body that is cut short, a connection that ends between
// two requests, and what a hijacked connection reads, end at once.
//
// # Limits
//
// It is HTTP/1 in the clear, on Linux. Elsewhere the connections are left as they
// are. HTTP/2 has a half-close of its own, that of a stream. TLS stands above the
// Listener, and its end (close_notify) is seen there: it ends the context as before.
//
// The Listener knows by how net/http reads that a request is being answered: it
// takes its read deadline away and reads one byte. Should that change, a half-close
// ends the context as before.
//
// # Concurrency
//
// A Listener may be used from any goroutine, as the one below it may. There are no
// goroutines of its own, and nothing is looked at over and over.
//
// # Costs
//
// One allocation for a connection, none for a request. Bytes are moved inside the
// kernel as without.
package halfclose
