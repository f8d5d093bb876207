// Package disk is for those whose cache is to outlive the process, or is larger
// than memory: a store in a directory of files. Package cache/tiered puts memory
// in front of it.
//
//	d := &disk.Store{Root: "/var/cache/app", MaxBytes: 10 << 30}
//	defer d.Close()
//	c := &cache.Cache{Store: d}
//
// Apache's mod_cache_disk and htcacheclean do what it does.
package disk
