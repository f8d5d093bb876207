// Package tiered is for those who want a quick store in front of a large one, as
// memory before a disk. Who has one store does not need it.
//
//	d := &disk.Store{Root: "/var/cache/app"}
//	defer d.Close()
//	c := &cache.Cache{Store: &tiered.Store{Front: &memory.Store{}, Back: d}}
package tiered
