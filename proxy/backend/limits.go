package backend

import (
	"math"
	"time"
)

// Limits are the time limits of the phases of an exchange, as the fields of a
// [Backend] say with their defaults. Negative means none.
type Limits struct {
	Connect time.Duration // ConnectTimeout
	Write   time.Duration // WriteTimeout
	Header  time.Duration // HeaderTimeout
	Read    time.Duration // ReadTimeout
	Request time.Duration // RequestTimeout
}

// longest is the longest time that is a limit: what is added to it does not
// overflow.
const longest = math.MaxInt64 / 4

// finite returns d, or -1 if that is no limit.
func finite(d time.Duration) time.Duration {
	if d < 0 || d > longest {
		return -1
	}
	return d
}

// Sizes of buffers are at least least and at most most bytes, so that a typing
// error takes neither the speed nor the memory of all that goes through them.
const (
	leastBuffer = 16
	mostBuffer  = 1 << 20
	leastSystem = 16 << 10 // of the system's: with less, large segments never fit
	mostSystem  = 1 << 30
)

// bufferSize is the size of a buffer that a field asks for.
func bufferSize(field, standard int) int {
	if field <= 0 {
		return standard
	}
	return min(max(field, leastBuffer), mostBuffer)
}

// Limits returns the time limits.
func (b *Backend) Limits() Limits {
	common := or(b.Timeout, DefaultTimeout)
	return Limits{
		Connect: finite(or(b.ConnectTimeout, common)),
		Write:   finite(or(b.WriteTimeout, common)),
		Header:  finite(or(b.HeaderTimeout, common)),
		Read:    finite(or(b.ReadTimeout, common)),
		Request: finite(or(b.RequestTimeout, -1)),
	}
}

// Limits returns the time limits of its backend.
func (c *Conn) Limits() Limits { return c.backend.limits }

// Arm sets the time limits for what follows: that of a head for reads, and that of
// writing for writes; or d for both if d is not zero; a negative d removes them. To
// save a timer for each request, a limit that is already set is left alone while it
// lies between d and 9/8 of d ahead.
func (c *Conn) Arm(d time.Duration) {
	l := &c.backend.limits
	if d == 0 {
		c.arm(l.Header, l.Write)
	} else {
		c.arm(finite(d), finite(d))
	}
}

// ArmBody is Arm(0) where it is the body of an answer that is waited for.
func (c *Conn) ArmBody() { c.arm(c.backend.limits.Read, c.backend.limits.Write) }

func (c *Conn) arm(read, write time.Duration) {
	c.reading.Store(int64(read))
	now := time.Since(c.backend.epoch)
	r, w := renewed(c.deadline, now, read), renewed(c.writeDeadline, now, write)
	switch {
	case r == c.deadline && w == c.writeDeadline:
		return
	case r == w:
		_ = c.Conn.SetDeadline(c.at(r))
	default:
		_ = c.Conn.SetReadDeadline(c.at(r))
		_ = c.Conn.SetWriteDeadline(c.at(w))
	}
	c.deadline, c.writeDeadline = r, w
}

// renewed returns when a limit of d ends that ended at old so far; 0 means never.
func renewed(old, now, d time.Duration) time.Duration {
	if d < 0 {
		return 0
	}
	if left := old - now; left >= d && left <= d+d/8 {
		return old
	}
	return now + d + d/8
}

// at returns a time since the backend's epoch as a deadline.
func (c *Conn) at(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return c.backend.epoch.Add(d)
}

// Extend moves the limits that Arm set ahead, as if it were called now. Unlike
// Arm, it may be called by a second goroutine, one that writes while the first
// reads.
func (c *Conn) Extend() {
	read, write := c.ReadLimit(), c.backend.limits.Write
	now := time.Now()
	if read == write && read > 0 {
		_ = c.Conn.SetDeadline(now.Add(read + read/8))
		return
	}
	if read > 0 {
		_ = c.Conn.SetReadDeadline(now.Add(read + read/8))
	}
	if write > 0 {
		_ = c.Conn.SetWriteDeadline(now.Add(write + write/8))
	}
}

// ExtendRead moves the limit for reads alone ahead, to d from now. Like Extend, it
// may be called by another goroutine.
func (c *Conn) ExtendRead(d time.Duration) { _ = c.Conn.SetReadDeadline(time.Now().Add(d)) }

// ReadLimit returns the limit for reads that Arm or ArmBody has set last; negative
// means none.
func (c *Conn) ReadLimit() time.Duration { return time.Duration(c.reading.Load()) }
