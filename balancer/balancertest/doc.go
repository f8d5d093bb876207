// Package balancertest is for those who write a balancer.Method: it checks that
// the method does what balancers expect of it, as testing/fstest does for file
// systems. Who uses the methods of package balancer does not need it. A test of a
// method is one call:
//
//	err := balancertest.TestMethod(func() balancer.Method { return &Mine{} }, balancertest.Claims{Weighted: true})
//	if err != nil { t.Fatal(err) }
package balancertest
