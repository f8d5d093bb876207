// Package exchange is what the transports of all protocols share: who writes a
// transport for another protocol begins here, and needs little else. Who only
// puts proxies together needs [Error] and [Record] of it, to learn what failed
// and what happened.
//
//	request ─► Backends ─► backend.Get ─► write head, BodySender ─► read head ─► ResponseBody ─► connection kept or closed
//	              │             │                  │                    │              │
//	              └─────────────┴────── Watcher: the context ends ──────┴──────────────┘
//	                                    Hooks: what the Record and an httptrace.ClientTrace are told
//
// # What to take for what
//
//	Backends                      the backend of a URL, made on first use
//	Hooks                         a connection, and what to tell of it and of the request
//	Watcher                       breaks an exchange off when its context ends
//	Spool, BodySender             the body of a request: read first, or sent beside the answer
//	ResponseBody, BodySource      the body of an answer, and the connection's way back
//	HopByHop, OutgoingHost        what of a request's fields goes on, and to which host
//	ParseFields                   field lines, by the rules for HTTP/1
//	AcquireError, StaleError, EndError, ClientBodyError
//	IsIdempotent, ResendRequest   whether to try again
//	WriteErrorPage, WriteRefusal  what the client is told
package exchange
