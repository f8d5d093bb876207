// Package accesslog is for those who want one line for each request, in the formats
// of Apache's LogFormat. Its [Handler] goes around everything else. Who wants
// metrics, or a log of another form, takes proxy.Observer or the OnRecord of a
// proxy.Handler.
//
//	client ─► accesslog.Handler ─► whatever answers
//	               └─ "%h %l %u %t \"%r\" %>s %b" ─► Output
package accesslog
