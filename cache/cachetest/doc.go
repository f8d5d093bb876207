// Package cachetest is for those who write a store.Store: it checks that the store
// keeps the promises of the interface, as testing/fstest does for file systems. A test of a store is one
// call:
//
//	err := cachetest.TestStore(func() (store.Store, error) { return &Mine{}, nil }, cachetest.Claims{})
//	if err != nil { t.Fatal(err) }
//
// The store must have room for 64 MiB, else it may rightly forget what the
// checks look for.
package cachetest
