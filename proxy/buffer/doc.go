// Package buffer is for backends that are to be done with a request soon, however
// slow its client is: an answer is read as fast as the backend sends it, into memory
// and then into a file, and the client takes it from there. It is for answers what
// exchange.Spool is for requests.
//
//	client ◄─ Handler ◄─ memory, then a file: the client's pace
//	                          ▲
//	                          └─ Next ◄─ backend: its own pace; the connection is free
//
// It stands where any http.RoundTripper does: before a proxy.Transport, that of
// another protocol, or a balancer. Under a cache it frees the backends; around one it
// would copy what is stored already. A whole program:
//
//	app, err := proxy.NewHandler("/", "http://127.0.0.1:9000/")
//	if err != nil { log.Fatal(err) }
//	app.Transport = &buffer.Transport{Next: app.Transport}
//	log.Fatal(http.ListenAndServe("127.0.0.1:8080", app))
//
// # Nothing waits
//
// A client may take each byte as soon as it has come, and a Handler flushes what it
// has when the backend pauses. Once Max bytes are kept, the backend waits for the
// client, as it would without this package: nothing is lost. Before, no time limit
// of the backend runs while the client is slow.
//
// The head, interim answers, the trailer, the length, the error of a body that
// breaks off, and what the Record and hooks are told are those of Next. The error
// comes behind all bytes that came before it. That a backend has sent all of its
// answer does not say that the client has got it; the Record does.
//
// # Which answers
//
// Those with a body of which it is known that it ends, or that nothing tells to be
// a stream. Passed on as they come are:
//
//   - text/event-stream, multipart/x-mixed-replace and application/grpc
//   - those with X-Accel-Buffering: no, as nginx has it; the field is passed on
//   - upgrades (101) and answers to CONNECT
//   - those without a body, such as of HEAD, 204 and 304
//
// Choose, if set, says it instead for all that have a body and are no tunnels.
//
// # What it costs
//
// A short answer that comes in one piece with its head costs a copy of it. Any
// other costs a goroutine for as long as the backend sends, up to Memory bytes and
// one buffer of 32 KiB more, and a file when the client is slower than the backend
// for longer than 20 ms in all. Such a body is copied, where without this package
// a long one may move from socket to socket inside the kernel; BenchmarkAnswers
// compares the two for a quick client. So it is for backends whose connections or
// workers are few and dear (PHP, Tomcat), rather than for big files of one that
// waits cheaply. Each client may cost Max bytes of the disk that Dir is on.
//
// A file that cannot be made or written is said once, by Logger; then as much as
// fits in memory is kept, and the backend waits for the client.
package buffer
