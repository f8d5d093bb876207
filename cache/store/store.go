package store

import (
	"context"
	"errors"
	"io"
)

// Store keeps responses. Under one key there may be several of them, the
// variants that Vary tells apart; which one fits a request is the cache's
// affair, not the store's. Methods may be called by any goroutine at any time.
type Store interface {
	// Get returns what is stored under key, the newest first, and nothing at
	// all if there is nothing. It compares whole keys. Nobody may change the
	// slice, so that it may be the store's own.
	Get(ctx context.Context, key string) ([]Entry, error)

	// Create begins to store a response. Nobody sees it before Commit.
	Create(ctx context.Context, meta *Meta) (Writer, error)

	// Update replaces the metadata of a stored response; its body stays. An
	// entry that is gone is no error.
	Update(ctx context.Context, e Entry, meta *Meta) error

	// Remove takes a response out. Bodies that are open go on to be readable.
	// An entry that is gone is no error.
	Remove(ctx context.Context, e Entry) error

	// Walk calls f with each stored response until it returns false. What is
	// stored meanwhile may be left out.
	Walk(ctx context.Context, f func(Entry) bool) error
}

// Tagged is a Store that finds responses by surrogate key without a walk.
type Tagged interface {
	// Tagged returns what has tag among its Tags.
	Tagged(ctx context.Context, tag string) ([]Entry, error)
}

// Measured is a Store that knows its figures.
type Measured interface {
	Stats() Stats
}

// Stats are the figures of a store at one moment.
type Stats struct {
	Entries   int64 `json:"entries"`
	Bytes     int64 `json:"bytes"`     // of bodies and metadata
	MaxBytes  int64 `json:"maxBytes"`  // 0 if there is no limit
	Evictions int64 `json:"evictions"` // responses taken out to make room
	Errors    int64 `json:"errors"`    // operations that failed
}

// Entry is one stored response.
type Entry interface {
	// Meta is what is known of the response. Nobody may change it.
	Meta() *Meta

	// Size is the length of the body in bytes.
	Size() int64

	// Open returns the body, from its beginning. An *os.File is best given as
	// it is, for the kernel to send.
	Open() (Body, error)
}

// Writer takes the body of a response that is being stored. It belongs to one
// goroutine, but its Reader may be used by others meanwhile.
type Writer interface {
	io.Writer

	// Reader returns what has been written so far, and what will be written
	// later, to be read at offsets: io.EOF means not yet. It is open beyond
	// Commit and Abort, until it is closed.
	Reader() (ReaderAtCloser, error)

	// Commit makes the response visible. It takes the place of old, the entries
	// that it makes useless. meta may tell more than Create knew: a trailer, the
	// true length.
	Commit(meta *Meta, old ...Entry) error

	// Abort throws it away. After Commit it does nothing.
	Abort()
}

// ReaderAtCloser reads a body that may still grow.
type ReaderAtCloser interface {
	io.ReaderAt
	io.Closer
}

// ErrTooLarge is what a Writer returns, or wraps, when a body is larger than
// the store ever keeps. It is no failure: the answer is passed on unstored.
var ErrTooLarge = errors.New("cache: body is larger than the store keeps")
