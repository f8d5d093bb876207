// Package balancer is for those who have several backends for the same requests,
// or need health checks: it chooses one for each request, remembers sessions,
// fails over, and watches the members' health, as Apache's mod_proxy_balancer,
// its lbmethods and mod_proxy_hcheck do. Who has one backend needs package proxy
// alone; a page that shows and changes balancers is package balancer/manager.
//
// A [Balancer] is an http.RoundTripper, and so is whatever speaks to a member:
// http, https, h2c, unix sockets, FastCGI, or a balancer again.
//
//	request ──► session names a route? ──► that member, if usable, or its redirect
//	               │ no
//	               ▼
//	            set 0, 1, … ──► usable members, spares for the unusable ──► Method.Pick
//	               │ none                   or else the standbys
//	               ▼
//	            all in error: forget that, once ──► wait up to Timeout ──► 503
//
//	member ──► its URL before the path ──► its RoundTripper ──► answer
//	               │ not reached, or a status of FailOnStatus
//	               └──► another member, none twice, up to MaxAttempts
//
// A whole program:
//
//	b, err := balancer.New(balancer.Config{}, balancer.URLs("http://10.0.0.1:8080", "http://10.0.0.2:8080")...)
//	if err != nil { log.Fatal(err) }
//	defer b.Close()
//	target, _ := url.Parse("balancer://app/")
//	h := &proxy.Handler{Prefix: "/", Target: target, Transport: b}
//	log.Fatal(http.ListenAndServe("127.0.0.1:8080", h))
//
// # Methods
//
// [ByRequests], [ByTraffic] and [ByBusyness] choose exactly as Apache's do;
// [Weighted] takes the place of heartbeat. [Random2], [First], [Hash] and
// [LeastTime] are ours. A [Method] of your own is one function, examples/custommethod
// has one, and package balancertest checks it.
//
// # State of a member
//
//	usable --cannot be reached, FailOnStatus, FailOnTimeout--> error
//	error --Retry elapsed, chosen--> trial --any answer--> usable
//	                                   └── failure ──► error
//
// One request alone makes the trial; it fails over like any other, so that a
// client sees nothing of it. A client that left and a pool that was full are
// never held against a member. Failures that do not say that the member is
// down (a malformed answer, a status of 500) lead to the error state only by
// [Ejection]. Active checks ([Check]) have a verdict of their own beside the
// state: a member that failed them is not used until it passes again. State and
// counters belong to the member of one balancer and survive every change of the
// list.
//
// # Concurrency
//
// All methods of [Balancer] and [Member] may be called from any goroutine.
// Members and configuration that a request sees are those of one moment;
// changes make a new arrangement that later requests see. Choosing takes no lock
// but the method's own while all members are well. [Balancer.Close] ends the
// goroutines of checks and discovery and waits for them.
//
// # Timeouts
//
// Config.Timeout bounds the wait for a member when none is usable,
// MemberConfig.WaitTimeout the wait in line of a full one, Check.Timeout a
// check. How long a member may take to connect and to answer are limits of its
// transport, such as those of backend.Backend. All waits end with the request's
// context.
//
// # Security
//
// A client cannot choose a member but by a route that is configured, compared
// exactly; routes are checked to hold nothing that a cookie or a path could be
// broken with. The route in a session shows which member serves it. Requests
// that are not idempotent are repeated only if they provably did not reach the
// application. Errors and logs hold no cookies and no values of the request;
// Facts.SessionRoute does, and is the client's.
//
// # Differences from Apache
//
//   - One request probes a member after its Retry, not all of them.
//   - A member that comes back has its lbstatus brought between those of the
//     others: no burst of requests makes up for its absence.
//   - Members already tried are left out of further attempts.
//   - A full pool of connections is not an error of the member, and a failed
//     check beside ForceRecovery is not the end: rather a try than a 503.
//   - The route is behind the last separator of a session's value, not the
//     first. Several cookies of one name are all looked at.
//   - FailOnStatus also tries another member, if that is safe.
//   - Members are added without a limit; Growth is for those that package manager
//     adds.
package balancer
