package disk

import "time"

// fileStamp tells whether a file is still the same: whoever writes to it
// changes its times, whoever puts another in its place its inode.
type fileStamp struct {
	size, inode     int64
	modified, state int64 // ns of Unix time; state: of the inode, where there is such
	gone            bool  // it has no name any more
}

// Times of files are those of the last tick of a clock, on some systems of the
// last second. What was changed twice in one tick looks as if it was changed
// once; so a stamp is trusted only when it is older than that.
const (
	stampTick   = 100 * time.Millisecond
	coarseStamp = 2 * time.Second
)

// settled reports whether a later change would show.
func (s fileStamp) settled(now time.Time) bool {
	last := max(s.modified, s.state)
	tick := stampTick
	if last%int64(time.Second) == 0 {
		tick = coarseStamp
	}
	return !s.gone && now.UnixNano()-last > int64(tick)
}
