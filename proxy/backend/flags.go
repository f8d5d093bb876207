package backend

import (
	"fmt"
	"strings"
)

// Flags are set by an administrator and never by traffic. The letters are
// those of Apache's status parameter. A [Backend] obeys the first three; the
// others are for whoever chooses among several, such as a balancer.
type Flags uint32

// The flags.
const (
	Disabled     Flags = 1 << iota // D: takes no requests, but is checked
	Stopped                        // S: takes no requests and is not checked
	IgnoreErrors                   // I: never enters the error state
	Draining                       // N: only for requests bound to it by a session
	HotStandby                     // H: only when no other of its set is usable
	HotSpare                       // R: takes the place of an unusable one of its set
)

const flagLetters = "DSINHR"

// String returns the letters of the flags that are set.
func (f Flags) String() string {
	var b strings.Builder
	for i := range len(flagLetters) {
		if f&(1<<i) != 0 {
			b.WriteByte(flagLetters[i])
		}
	}
	return b.String()
}

// MarshalText writes the letters.
func (f Flags) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads letters; what they do not name is cleared.
func (f *Flags) UnmarshalText(text []byte) error {
	v, err := ParseFlags(string(text), 0)
	if err == nil {
		*f = v
	}
	return err
}

// ParseFlags applies a value of Apache's status parameter to flags: letters
// that are set, or cleared behind a minus sign, as in "+H-D". C, the failure
// of a health check, is accepted and means nothing here, since checks decide
// it; E and its like are not.
func ParseFlags(status string, flags Flags) (Flags, error) {
	set := true
	for _, c := range strings.ToUpper(status) {
		switch c {
		case '+':
			set = true
			continue
		case '-':
			set = false
			continue
		case 'C':
			continue
		}
		i := strings.IndexRune(flagLetters, c)
		if i < 0 {
			return flags, fmt.Errorf("backend: status %q: unknown letter %q", status, c)
		}
		if set {
			flags |= 1 << i
		} else {
			flags &^= 1 << i
		}
	}
	return flags, nil
}
