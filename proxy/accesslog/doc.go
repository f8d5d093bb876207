// Package accesslog writes one line for each request, in the formats of Apache's
// LogFormat. Who wants such a log puts [Handler] around everything else; who wants
// metrics or a log of another form takes proxy.Observer or Handler.OnRecord.
//
//	client ─► accesslog.Handler ─► whatever answers
//	               └─ "%h %l %u %t \"%r\" %>s %b" ─► Output
package accesslog
