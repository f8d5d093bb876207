// Package store is for those who write a store for a cache, or put something
// around one that is there: it says what a store is. Who only takes one needs
// package cache/memory, cache/disk or cache/tiered, and of this package the names
// of what those return.
//
// A [Store] keeps responses and decides nothing. What may be stored, and whether
// it may be used, is the affair of package cache.
//
//	Create(meta) ─► Writer ─Write…─► Commit(meta, old…) ─► an Entry that Get finds
//	                  └─Reader─► what has been written so far, for others meanwhile
//	Get(key) ─► Entries ─► Meta, Size, Open ─► Body
//
// A store has five methods. It may have more: [Tagged] finds by surrogate key,
// [Measured] tells figures; a [Body] may be an io.WriterTo, a [PieceWriter], or
// what the kernel can send. The example is a store in some hundred lines; package
// cachetest tells what is wrong with one.
package store
