// Package plainfile reads files whose names stand in a configuration. What such a
// name leads to may be anything: a FIFO without a writer, on which an open waits
// for ever, a device without an end, a folder, a file of gigabytes. Here each of
// them is an error, at once.
//
//	name ─► open without waiting ─► a regular file, not too large ─► its bytes
package plainfile
