// Package filter changes the bodies of answers on their way to the client, as
// httpd's output filters do. It knows nothing of HTTP, and nothing of a site.
//
// A filter is a step of a pipe. What is written to it comes out changed at the
// next one; a flush hands on all that can be told so far:
//
//	backend ──► Gunzip ──► Substitutions ──► Gzip ──► client
//
// No filter keeps more of a body than it must: a window of gzip, or a line.
package filter

import "io"

// Writer is what a filter writes to: the next one, or the client.
type Writer interface {
	io.Writer

	// Flush hands on what has been written.
	Flush() error
}

// Filter is a step. Close writes what is left, and leaves the next step open. A
// filter is for one body, and for one goroutine at a time.
type Filter interface {
	Writer
	io.Closer
}
