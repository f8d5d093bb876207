package digest

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Users are those of a file of htdigest.
type Users map[[2]string]string

// ReadUsers reads lines "user:realm:digest". Empty lines and those that begin with
// "#" are skipped; an error names a line that is none of these.
func ReadUsers(text string) (Users, error) {
	users := make(Users)
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		parts := strings.Split(line, ":")
		if len(parts) != 3 || parts[0] == "" {
			return nil, fmt.Errorf("htdigest: line %d is not user:realm:digest", n)
		}
		if b, err := hex.DecodeString(parts[2]); err != nil || len(b) != 16 {
			return nil, fmt.Errorf("htdigest: line %d: the digest is malformed", n)
		}
		users[[2]string{parts[0], parts[1]}] = strings.ToLower(parts[2])
	}
	return users, nil
}
