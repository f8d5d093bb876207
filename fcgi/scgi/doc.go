// Package scgi is for those whose application speaks SCGI: it is the web server's
// side of the protocol, and does what Apache's mod_proxy_scgi does.
//
//	client ─► proxy.Handler ─► Transport ─► application
//
// A [Transport] is an http.RoundTripper and meets the rest at that interface
// alone: a proxy.Handler maps paths to it, a balancer spreads requests over
// several, an http.Client uses it as it is.
//
// # What the application is told
//
// PATH_INFO is the path of the URL, decoded, and SCRIPT_NAME what goes before it in
// the client's path: behind a Handler with the Prefix "/shop/" and the Target
// "scgi://127.0.0.1:4000/", a request for /shop/cart has SCRIPT_NAME=/shop and
// PATH_INFO=/cart. Where the client's path does not end in PATH_INFO, since it was
// rewritten, SCRIPT_NAME is empty. The other variables are those of FastCGI.
//
// # Connections
//
// One connection carries one request, and its end is that of an answer without
// Content-Length; so nobody can tell such an answer from the first part of it.
//
// # Concurrency
//
// A Transport may be used by any number of goroutines once its fields are set. A
// request runs on its caller's goroutine alone; one with a body of more than 16 KiB
// has a second that sends it.
//
// # Timeouts
//
// They are those of the [backend.Backend]: ConnectTimeout, AcquireTimeout, and
// Timeout for each wait for the application. The limit on a request as a whole is
// its context's.
//
// # Security
//
// Paths with control bytes or dot segments are refused. The field Proxy and fields
// whose name has more than letters, digits and hyphens never become variables. No
// variable has a NUL, at which an application would end it. Heads of answers are
// bound in length and read by the rules for HTTP.
//
// # Differences from Apache
//
// PATH_INFO is told always, and not with proxy-scgi-pathinfo alone. Authorization is
// passed on. A Location without Status is 302, unless KeepStatus is set, and never an
// internal redirect. A request body of unknown length is read first, and not answered
// with 411. An answer that is shorter than its Content-Length is a failure, and a
// head that is malformed 502, not 500.
package scgi
