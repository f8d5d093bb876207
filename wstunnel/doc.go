// Package wstunnel is for reverse proxies that check handshakes and origins of
// WebSockets, read their messages, or end them in order; the bytes themselves are
// moved by package proxy/tunnel, and a [proxy.Handler] by itself passes them as
// well. It does what Apache's mod_proxy_wstunnel does, and mod_proxy_http with
// upgrade=, for ws:// and wss:// backends.
//
//	client ── handshake ──► Handler ─► proxy.Handler ─► Transport ── handshake ──► backend
//	client ◄──── 101 ────── (checked) ◄───────────────────────────────── 101 ───── backend
//	client ◄═══ bytes, or Messages: decode, OnMessage, encode ═══════════════════► backend
//	client ◄─ 403, 200 … as it is ◄──────────────────────────────── no 101 ─────── backend
//
// A [Handler] wraps a [proxy.Handler], which maps paths and adds the forwarding
// fields; its Transport may be a balancer. A [Transport] makes the same checks
// for those who have only an http.RoundTripper: an http.Client, a member of a
// balancer, somebody else's proxy.
//
// A whole program:
//
//	func main() {
//		chat, err := wstunnel.NewHandler("/chat/", "ws://127.0.0.1:9000/")
//		if err != nil {
//			log.Fatal(err)
//		}
//		chat.Origins = []string{"self"}
//		server := &http.Server{Addr: ":8080", Handler: chat, ReadHeaderTimeout: 10 * time.Second}
//		log.Fatal(server.ListenAndServe())
//	}
//
// # Bytes and messages
//
// Without Messages, bytes pass as they are. Only the heads of frames are
// followed, so that at Shutdown, and at the end of MaxLife, the client can be
// sent a Close with code 1001 where that cuts no message; whatever is no
// WebSocket passes all the same. An idle tunnel then holds two sockets and some
// hundred bytes.
//
// With [Messages], each side has a WebSocket of its own with the proxy: frames
// are checked, so that all that RFC 6455 and RFC 7692 have an endpoint refuse
// ends here with 1002 or 1007, whichever side it comes from; messages are limited
// in size, shown to a function that may change or refuse them, and compressed on
// either side as that side has agreed to; Pings find out who is gone. That costs
// two goroutines and a few KiB for each tunnel.
//
// # HTTP/2
//
// An extended CONNECT (RFC 8441) is passed on as an upgrade of HTTP/1.1, with a
// key of the proxy's own. net/http offers it to clients if the environment has
// GODEBUG=http2xconnect=1 when the program starts. Its method is CONNECT: a
// pattern of http.ServeMux must not ask for GET. The handler returns only when
// the tunnel has ended. A tunnel that is cut, for being idle or because the
// backend was, resets its stream.
//
// # Concurrency
//
// A Handler and a Transport may be used by any number of goroutines once their
// fields are set. OnMessage is called by one goroutine for each direction of
// each tunnel.
//
// # Timeouts
//
// Until the 101, the limits are those of the backend. Then IdleTimeout, MaxLife
// and CloseDelay count; without them a tunnel lives as long as both sides. Who
// goes on to send after the other has closed its side is given 5 s.
//
// # Security
//
// Until a 101 has come that fits, the connection carries ordinary HTTP: a
// request behind a handshake that was refused passes all that stands in front
// of the Handler. A 101 must name the protocol that was asked for, answer the
// key, and choose no subprotocol or extension that was not offered; all else is
// 502, and the backend's connection is closed. "h2c" never passes. Set Origins
// where cookies authenticate: browsers let the pages of every site open
// WebSockets to yours. Message mode limits messages after decompression.
//
// # Differences from Apache
//
// The answer to the key is checked, and a malformed handshake refused. Idle
// tunnels have no limit unless one is set. Clients are told when the server
// goes down.
package wstunnel
