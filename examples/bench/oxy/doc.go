// Package oxy compares the choice of a member with that of vulcand/oxy's round
// robin. It is a module of its own, so that the library does not depend on oxy.
//
//	cd examples/bench/oxy && go test -bench .
package oxy
