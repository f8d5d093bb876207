package apache

import (
	"fmt"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/pattern"
)

// fillGroups makes $1 to $9 in the target of a rule by an expression empty where the
// expression has no such group, as in httpd: they mean one more group, with nothing
// in it.
func (b *builder) fillGroups(r *rule) error {
	have, missing := r.pattern.NumSubexp(), 0
	text := []byte(r.text)
	for i := 0; i+1 < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case text[i] == '$' && '1' <= text[i+1] && text[i+1] <= '9' && int(text[i+1]-'0') > have:
			missing = int(text[i+1] - '0')
			text[i+1] = '1' + byte(have)
		}
	}
	if missing == 0 {
		return nil
	}
	b.warn(r.at.Errorf("$%d is empty: the expression has %d groups", missing, have))
	p, err := pattern.Compile("(?:" + r.pattern.String() + ")()")
	if err != nil {
		return fmt.Errorf("$%d is no group of the expression", missing)
	}
	r.pattern, r.text = p, string(text)
	return nil
}
