package access

import (
	"fmt"
	"strconv"
	"strings"
)

// PortRange is the ports from First to Last, both included.
type PortRange struct{ First, Last uint16 }

// ParsePorts reads ports as Apache's AllowCONNECT takes them: "443", or a
// range "8000-8100". An error names the word that is neither.
func ParsePorts(words ...string) ([]PortRange, error) {
	ranges := make([]PortRange, 0, len(words))
	for _, w := range words {
		first, last, ranged := strings.Cut(w, "-")
		if !ranged {
			last = first
		}
		from, ok1 := parsePort(first)
		to, ok2 := parsePort(last)
		if !ok1 || !ok2 || from > to {
			return nil, fmt.Errorf("access: %q is no port or range of ports", w)
		}
		ranges = append(ranges, PortRange{from, to})
	}
	return ranges, nil
}

// Contains reports whether a port is one of them.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// parsePort reads a port from 1 to 65535: digits, and nothing else.
func parsePort(s string) (uint16, bool) {
	if s == "" || len(s) > 5 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && n > 0
}
