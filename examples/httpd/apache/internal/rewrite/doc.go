// Package rewrite is mod_rewrite: conditions, rules and maps, without any
// knowledge of the server that asks.
//
//	RewriteCond, RewriteRule ─► Rule ─┐
//	RewriteMap ───────────────► Map ──┴─► Set
//	request ─► State ─► Set.Apply ─► Result: another path, a redirect, a URL to
//	                                  proxy to, or a status
//
// A Set belongs to a server or to a directory. The server answers what the
// variables of a request are, by its Server interface, and does what the Result
// says.
package rewrite
