//go:build !unix

package backend

// Turn writes p. Where the system allows it, it also waits until there is
// something to read.
func (c *Conn) Turn(p []byte) (n int, err error) { return c.Write(p) }

// looks reports whether Turn looks at the connection before it writes.
func (c *Conn) looks() bool { return false }
