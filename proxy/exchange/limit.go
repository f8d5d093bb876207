package exchange

import "math"

// Limit returns what a field that limits a size or a number means: standard if it
// is zero, and if it is negative no limit. What it returns is at most half of what
// the type holds, so that a little may be added to it.
func Limit[T int | int64](field, standard T) T {
	most := T(math.MaxInt / 2)
	switch {
	case field == 0:
		return standard
	case field < 0:
		return most
	}
	return min(field, most)
}
