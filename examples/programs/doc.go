// Package programs runs real servers for tests: httpd, nginx, php-fpm, Tomcat,
// or any other.
//
//	test ── Serve ──► program at a free address of 127.0.0.1, accepting
//	     ◄── Addr, Dir, Restart, Kill, Output
//
// A program ends with its test, and what it wrote is shown if the test has
// failed. Where a program is not installed, the test is skipped with the name
// of the Debian package; with MODPROXY_INTEROP=require in the environment the
// skip is a failure.
//
// [Start], and the functions that return a program's arguments, are for what is
// no test; [Run] is for what serves in the process of the test.
package programs
