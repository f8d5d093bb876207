// Package mirror is for those who try a new version of a backend with the requests
// of the old one: a share of the requests is sent to a second http.RoundTripper as
// well, whose answers are dropped. The client waits for none of it.
//
//	request ─► Transport ─────────────────────────► Next ─► answer
//	               │ body: copied as Next reads it
//	               └─ Share, Choose, MaxBody, MaxInFlight
//	                        └─► Rewrite ─► To ─► dropped
//
// It stands where any http.RoundTripper does: before a proxy.Transport, a balancer
// or a cache.Transport, or behind them. A whole program:
//
//	app, err := proxy.NewHandler("/", "http://127.0.0.1:9000/")
//	if err != nil { log.Fatal(err) }
//	next, err := backend.Parse("http://127.0.0.1:9001")
//	if err != nil { log.Fatal(err) }
//	app.Transport = &mirror.Transport{To: &proxy.Transport{Backend: next}, Share: 0.1}
//	log.Fatal(http.ListenAndServe("127.0.0.1:8080", app))
//
// # What a copy is
//
// It has the method, the URL, the fields, credentials among them, the body in the
// same framing and the trailer of the request that Next gets; for HTTP/1 Expect is
// left out. Who must not see credentials is to be spared them by Rewrite. Its
// context has the values of the client's, but does not end with it, and neither
// the Record of the request nor hooks of an httptrace.ClientTrace are told of it.
//
// Upgrades and CONNECT are never copied: a tunnel has one other end.
//
// # What is left out
//
// A request is copied when its body has been read to its end. A body that is longer
// than MaxBody, or that Next does not read to its end, is not sent, nor is a copy
// when MaxInFlight are held already. [Stats] counts them, and Logger is told when
// copies begin to fail or to be left out, and when they are answered again: once
// each, not for every copy.
package mirror
