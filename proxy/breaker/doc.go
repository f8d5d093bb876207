// Package breaker is for those with one backend that is better left alone for a
// while when it fails or has become slow: a circuit breaker in front of an
// http.RoundTripper. Who has several backends lets a balancer eject them, which
// needs no breaker; one may stand in front of a balancer, too.
//
//	request ─► Transport ── closed ──────────────────► Next ─► answer
//	               │                                    ▲
//	               ├─────── half-open: a few probes ────┘
//	               └─────── open ─► Fallback, or 503 with Retry-After
//
// A whole program:
//
//	app, err := proxy.NewHandler("/", "http://127.0.0.1:9000/")
//	if err != nil { log.Fatal(err) }
//	app.Transport = &breaker.Transport{Next: &proxy.Transport{}, Slow: 2 * time.Second, Logger: slog.Default()}
//	log.Fatal(http.ListenAndServe("127.0.0.1:8080", app))
//
// # States
//
//	closed    --FailureShare or SlowShare of at least MinRequests within Window--> open
//	open      --OpenTime is over, and a request comes--> half-open
//	half-open --all of Probes requests are well--> closed
//	half-open --one of them fails or is slow--> open, for twice as long, up to MaxOpenTime
//
// While half-open, no more than Probes requests are let through. One that says
// nothing, since its client has left, gives its place to another, and so do all
// of them when they are not decided within the time for which it was open.
//
// # What counts
//
// What does is a failure that [exchange.BlameOf] holds against the backend, an
// answer that FailOn chooses, and a body that breaks off, be it later. What the
// client did, 4xx and limits on connections do not count. A switch of protocols
// counts by its head alone. Latency is the time to the head of the answer, or from
// the last byte that the client has sent of the body: a slow upload is no slow
// backend. A client that leaves after Slow has seen a slow answer; that it left is
// no failure.
package breaker
