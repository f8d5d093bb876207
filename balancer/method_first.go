package balancer

import "net/http"

// First chooses the first member that is usable: the others are reserves.
type First struct{}

// Pick implements [Method].
func (First) Pick(_ *http.Request, usable []*Member) *Member {
	if len(usable) == 0 {
		return nil
	}
	return usable[0]
}

// String returns the method's name.
func (First) String() string { return "first" }
