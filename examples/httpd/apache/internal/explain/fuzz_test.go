package explain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// FuzzProgram: whatever a configuration says, what is printed is Go, and nothing of
// the configuration gets out of its strings and comments.
func FuzzProgram(f *testing.F) {
	names, _ := filepath.Glob("../../../conf/*.conf")
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add("<VirtualHost a:b>\nServerName \"x\\\" y\"\nProxyPass /a http://b/\n<Location /a>\nRequire x */ \x00\u2028\n</Location>\n</VirtualHost>\nProxyPass ~ ( balancer:// timeout=x\nBalancerMember balancer://x http://y/ */=1")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToLower(text), "include") || strings.Contains(strings.ToLower(text), "file") {
			return
		}
		list, err := conf.Parse(strings.NewReader(text), "x.conf", conf.Options{Getenv: func(string) (string, bool) { return "", false }})
		if err != nil {
			return
		}
		if _, err := Program(list); err != nil {
			t.Fatal(err)
		}
	})
}
