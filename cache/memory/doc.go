// Package memory is the store in memory, for those who set its limits or put it in
// front of another store. Who is content with 64 MiB leaves the Store of a
// cache.Cache nil, which is this one.
//
//	c := &cache.Cache{Store: &memory.Store{MaxBytes: 1 << 30}}
package memory
