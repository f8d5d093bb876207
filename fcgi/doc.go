// Package fcgi is for those who serve PHP by php-fpm, or any other application
// that speaks FastCGI: it is the web server's side of the protocol, and does what
// Apache's mod_proxy_fcgi and mod_authnz_fcgi do. An application itself is written
// with net/http/fcgi, and one that speaks HTTP needs package proxy alone.
//
//	client ─► Handler ─┬─ script ─► proxy.Handler ─► Transport ─► php-fpm
//	                   └─ file ───► client
//
// A [Transport] is an http.RoundTripper and meets the rest at that interface
// alone: a proxy.Handler maps paths to it, a balancer spreads requests over
// several, an http.Client uses it as it is. A [Handler] is a site of scripts
// with files beside them, an [Authorizer] a middleware that asks an application
// whether a request may be served.
//
// A whole program:
//
//	func main() {
//		site, err := fcgi.NewHandler("/var/www/html", "unix:/run/php/php-fpm.sock|fcgi://localhost")
//		if err != nil {
//			log.Fatal(err)
//		}
//		site.FrontController = "/index.php"
//		server := &http.Server{Addr: ":8080", Handler: site, ReadHeaderTimeout: 10 * time.Second}
//		log.Fatal(server.ListenAndServe())
//	}
//
// # Connections
//
// Connections are kept (FCGI_KEEP_CONN) and carry one request at a time. A
// child of php-fpm that has a connection serves no other, even while that is
// idle: let Backend.MaxConns be at most pm.max_children, less what health checks
// and other clients of the pool need, and requests stand in line here, for
// Backend.AcquireTimeout, and not in php-fpm's backlog. Idle connections are
// closed after 5 s, and sooner when a new one finds no child to serve it.
//
// # Concurrency
//
// Every type may be used by any number of goroutines once its fields are set. A
// request runs on its caller's goroutine alone; one with a body of more than 16
// KiB has a second that sends it.
//
// # Timeouts
//
// They are those of the [backend.Backend]: ConnectTimeout, AcquireTimeout, and
// Timeout for each wait for the application: for its header whole, and for more
// of its output. Error output and records without content end no wait. The limit on a request as a whole
// is its context's; when that ends, the connection is closed, since php-fpm does
// not heed FCGI_ABORT_REQUEST. That on a client is Proxy.Client of a [Handler].
//
// # Security
//
// Scripts are found by paths that hold neither control bytes nor dot segments,
// nor an encoded slash before their end. The field Proxy and fields whose name
// has more than letters, digits and hyphens never become variables. Headers of
// answers are bound in length and read by the rules for HTTP answers. An answer
// that breaks off is a [*exchange.Error] and never a clean end. A php-fpm that gets
// a part of a body, since its client left, may run the script on that: Spool.All,
// which NewHandler sets and the zero Transport does not, keeps that from it.
//
// # Differences from Apache
//
// Connections are reused by default. PATH_INFO is split off behind ".php".
// Authorization is passed on. A Location without Status is 302 and never an
// internal redirect. A header that is too long, malformed or missing is 502, and
// not 500 or 503. Error output is logged at the level that PHP names in it, and
// does not keep a request alive.
package fcgi
