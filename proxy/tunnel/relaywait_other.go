//go:build !unix

package tunnel

import "io"

// readWaiter is not available here: a relay keeps a small buffer while idle.
type readWaiter struct{}

func newWaiter(io.Reader) *readWaiter { return nil }

func (*readWaiter) readable() error { return nil }
