// Package balancertest checks that a balancer.Method does what balancers
// expect of it, as testing/fstest does for file systems. A test of a method is
// one call:
//
//	err := balancertest.TestMethod(func() balancer.Method { return &Mine{} }, balancertest.Claims{Weighted: true})
//	if err != nil { t.Fatal(err) }
package balancertest
