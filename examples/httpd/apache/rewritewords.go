package apache

import (
	"fmt"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// rewriteWords are the words of a RewriteRule or RewriteCond. As in httpd, they are
// not read as those of other directives: a backslash keeps a blank in its word, and
// stays; a quote ends at the next one, whatever stands before it; and what follows
// the third word does not count.
func rewriteWords(b *builder, d *conf.Directive) ([]string, error) {
	const blanks = " \t\n\v\f\r"
	var words []string
	rest := strings.TrimLeft(d.Raw, blanks)
	for rest != "" && len(words) < 3 {
		quote := byte(0)
		if rest[0] == '"' || rest[0] == '\'' {
			quote, rest = rest[0], rest[1:]
		}
		end := 0
		for ; end < len(rest); end++ {
			blank := strings.IndexByte(blanks, rest[end]) >= 0
			if quote == 0 && blank || quote != 0 && rest[end] == quote {
				break
			}
			if rest[end] == '\\' && end+1 < len(rest) && strings.IndexByte(blanks, rest[end+1]) >= 0 {
				end++
			}
		}
		words = append(words, rest[:end])
		rest = strings.TrimLeft(rest[min(end+1, len(rest)):], blanks)
	}
	if len(words) < 2 {
		return nil, fmt.Errorf("want two or three words")
	}
	if rest != "" {
		b.warn(d.Errorf("what follows the third word has no effect: one with blanks wants quotes"))
	}
	return words, nil
}
