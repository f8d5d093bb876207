// Package apache reads a configuration of Apache httpd and serves it with the
// packages of modproxy.
//
//	site.conf ─► conf: directives ─► builder: scopes ─► generation: hosts, rules, pools, logs
//	                                                        ▲ replaced as a whole by Reload
//	client ─► listener ─► host ─► rule and sections ─► proxy.Handler, cache, … ─► backend
//
// A Site is a configuration at work. It listens by itself:
//
//	site, err := apache.Load("/etc/apache2/apache2.conf", apache.Options{})
//	if err != nil { … }
//	defer site.Close()
//	err = site.Start()
//
// or answers what a server of yours takes, for instance while a service moves to
// Go rule by rule:
//
//	http.Handle("/old/", site.Handler("80"))
//
// The command around it is examples/httpd, and its README lists all directives.
package apache
