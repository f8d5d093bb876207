// Package exchange is for those who write a transport for another protocol: what
// all transports share, such as the backend of a URL, hop-by-hop fields, bodies,
// and the table of failures with their statuses. Who only puts proxies together
// takes [Error] and [Record] of it, to learn what failed and what happened.
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
//	BodyFraming                   what goes around its pieces
//	FramedBody, Framing           the body of an answer, and what is none of it between its pieces
//	ResponseBody, BodySource      the same, where it has to be read in another way
//	CheckRequest                  what no protocol can carry, before a connection is taken
//	HopByHop, OutgoingHost        what of a request's fields goes on, and to which host
//	ParseFields                   field lines, by the rules for HTTP/1
//	Attempt                       one request over one connection, with all of the above
//	AcquireError, WriteError, HeadError, ClientBodyError, EndError, Judge
//	                              failures, by the table below
//	BlameOf                       what a failure says about the backend
//	Apart, Detached               the context of a copy of the request, of work behind it
//	Limit                         what a field for a size or a number means
//	IsIdempotent, ResendRequest   whether to try again
//	WriteErrorPage, WriteRefusal  what the client is told
//
// # A transport, step by step
//
// The example Transport is a whole one, for a protocol of lines.
//
//  1. RoundTrip takes a connection of a [backend.Backend], which pools them; or of
//     [Backends], where each host has one. What Get returns is worded by
//     [AcquireError].
//  2. An [Attempt] begins: from here on the end of the context breaks it off.
//  3. The head of the request is written; [WriteError] words the failure.
//     [Attempt.SendBody] sends its body, while the answer is awaited.
//  4. The head of the answer is read; [HeadError] words the failure. One that may
//     not be what it seems is refused with [Malformed].
//  5. [Attempt.Body] makes the body of the answer from a reader. At its end the
//     connection goes back to the pool. When it is closed before, a short rest is
//     taken off the connection, or else that is closed. Where speed counts, a
//     [FramedBody] reads many pieces at once.
//  6. What fails ends in [Attempt.Fail]; a stale connection is the only reason to
//     try again here, by [ResendRequest].
//
// Package exchangetest then runs the transport through every row of the table.
//
// # Logs
//
// What has something to tell has a Logger, a *slog.Logger; nil is silent. A line
// because of a request comes with its context. The levels are the same everywhere:
//
//	ERROR  a request is failed that its client is not to blame for, one line each;
//	       a store of a cache fails, and a handler panics where nobody else tells
//	WARN   a backend or member goes into the error state, checks of it or discovery
//	       fail, a breaker opens, copies of a mirror fail: once, when it begins
//	INFO   that is over, with its duration and the number of failures; a request is
//	       refused that its client is to blame for; a tunnel of CONNECT ends;
//	       somebody has changed something
//	DEBUG  what lies between: attempts that failed, trials; connections; clients
//	       that left
//	TRACE  each request ([LevelTrace1]), and more of it
//
// So are the names of attributes: balancer, member, backend, rule for who;
// client and user for whom, and peer for the other end of the connection;
// method, host, path and target for what was asked for; status, error, duration,
// failures, from and to (states) for what came of it; result for a [Record].
//
// # The table of failures
//
// What the client is told, whether the request may be sent again, what becomes
// of the state of the backend and of a balancer's member, and at which level a
// [proxy.Handler] logs it: all that decides these things reads this table, by
// [FailureOf].
//
//	what has failed                                      status  sent again     backend      log
//	the client has left                                  499     no             none         DEBUG
//	the client does not send its body, or does not read  408     no             none         INFO
//	the request is too large                             413     no             none         INFO
//	the client's body cannot be read                     400     no             none         INFO
//	a hook refuses an interim answer                     502     no             none         ERROR
//	the request is malformed                             400     no             none         INFO
//	the client or the destination is not allowed         403     no             none         INFO
//	the request has been here before                     508     no             none         ERROR
//	no connection is free, or the backend is left alone  503     yes            none         ERROR
//	the backend cannot be reached, or not in time        503     yes            error state  ERROR
//	the backend does not serve the Host by TLS           502     yes            none         ERROR
//	the request is not written to its end                502     yes            fault        ERROR
//	a connection was closed while it was idle            502     if idempotent  none         ERROR
//	no byte of an answer                                 502     if idempotent  fault        ERROR
//	no answer in time                                    504     on demand      fault        ERROR
//	the request's own time is over                       504     no             none         ERROR
//	a malformed answer                                   502     on demand      fault        ERROR
//	the answer ends in its head                          502     on demand      fault        ERROR
//	the protocol cannot be switched                      502     on demand      fault        ERROR
//	the answer ends in its body                          502     no             fault        ERROR
//	another library's transport fails                    502     on demand      fault        ERROR
//	another library's transport cannot connect           502     yes            error state  ERROR
//	another library's transport cannot connect in time   504     yes            error state  ERROR
//
// A request of which nothing was written over a connection that was closed while
// it was idle may be sent again whatever its method is ([Error].Resend).
//
// 499 is recorded, and never sent. On demand is by a balancer's RetryIdempotent
// of what is idempotent. In the column of the backend, a fault counts toward
// ejecting a member, and ends a trial; none leaves a trial undecided.
package exchange
