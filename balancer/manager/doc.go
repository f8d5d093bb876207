// Package manager is for those who want a page that watches and changes balancers
// while they serve, as Apache's balancer-manager does. A balancer does not need
// it, nor does a page of your own: all that this one shows and changes is exported
// by package balancer.
//
// The line of a whole site, with access control of yours in front:
//
//	mux.Handle("/balancer-manager", local(manager.New(b)))
package manager
