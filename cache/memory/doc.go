// Package memory is for those who set the limits of a cache in memory, or put one
// in front of another store. Who is content with 64 MiB leaves the Store of a
// cache.Cache nil, which is this one.
//
//	c := &cache.Cache{Store: &memory.Store{MaxBytes: 1 << 30}}
package memory
