package proxy

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/examples/programs"
)

const module = "github.com/modproxy/modproxy/"

// floors are the rooms of the library from the ground up. An import only ever
// points down, and rooms of one floor do not know each other, so that each can be
// used, and understood, without its neighbours. What is internal to a room, or a
// kit for its tests, belongs to it.
var floors = [][]string{
	{"proxy/internal/contextkey", "proxy/internal/syntax", "proxy/internal/copybuf", "proxy/internal/tempfile", "proxy/proxyprotocol", "proxy/halfclose"},
	{"proxy/internal/clientaddr"},
	{"proxy/backend", "cache/store"},
	{"proxy/exchange"},
	{"proxy/tunnel", "proxy/access", "proxy/internal/http1", "proxy/internal/observation", "cache/internal/rfc9111", "cache/memory", "cache/disk", "cache/tiered"},
	{"proxy", "proxy/accesslog", "proxy/graceful"},
	{"balancer", "fcgi", "ajp", "wstunnel", "connect", "ftpproxy", "cache", "proxy/mirror", "proxy/buffer", "proxy/breaker"},
	{"examples"},
}

// guarded are the modules that only one package may bring along, so that
// whoever imports another does not carry them.
var guarded = map[string]string{
	"github.com/jlaffaye/ftp":      "ftpproxy",
	"github.com/gorilla/websocket": "wstunnel",
}

// TestImportsPointDown asks the go command who imports whom.
func TestImportsPointDown(t *testing.T) {
	out, err := exec.Command(programs.Find(t, "golang-go", "go"), "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").CombinedOutput()
	require.NoError(t, err, "%s", out)
	checked := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		from, ok := strings.CutPrefix(words[0], module)
		if !ok {
			continue
		}
		checked++
		for _, to := range words[1:] {
			require.Empty(t, forbidden(from, to))
		}
	}
	require.GreaterOrEqual(t, checked, 2)
}

// forbidden says what is wrong with an import, or "".
func forbidden(from, to string) string {
	for name, owner := range guarded {
		if strings.HasPrefix(to, name) && room(from) != owner && room(from) != "examples" {
			return from + " imports " + to + ", which belongs to " + owner
		}
	}
	inside, ok := strings.CutPrefix(to, module)
	if !ok || room(from) == room(inside) {
		return ""
	}
	if floorOf(from) <= floorOf(inside) {
		return from + " imports " + inside + ", which does not stand below it"
	}
	return ""
}

// room is the one to which a package belongs: itself, or the nearest above it.
func room(path string) string {
	for at := path; ; at = at[:strings.LastIndexByte(at, '/')] {
		for _, rooms := range floors {
			if slices.Contains(rooms, at) {
				return at
			}
		}
		if !strings.Contains(at, "/") {
			return path
		}
	}
}

func floorOf(path string) int {
	for i, rooms := range floors {
		if slices.Contains(rooms, room(path)) {
			return i
		}
	}
	return -1 // unknown: may import nothing of ours
}

// TestForbiddenImports: the rule itself can fail.
func TestForbiddenImports(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		bad      bool
	}{
		{"proxy", module + "proxy/backend", false},
		{"fcgi", module + "proxy", false},
		{"fcgi", module + "proxy/exchange", false},
		{"proxy/exchange/exchangetest", module + "proxy/exchange", false},
		{"proxy/exchange", module + "proxy/exchange/exchangetest", false},
		{"balancer/balancertest", module + "balancer", false},
		{"examples/httpd", module + "fcgi", false},
		{"proxy", "net/http", false},
		{"proxy/backend", module + "proxy", true},
		{"proxy", module + "balancer", true},
		{"proxy/exchange", module + "proxy", true},
		{"proxy/tunnel", module + "proxy/access", true},
		{"proxy/accesslog", module + "proxy", true},
		{"fcgi", module + "ajp", true},
		{"cache", module + "cache/memory", false},
		{"cache/disk", module + "cache/store", false},
		{"cache/store", module + "cache/disk", true},
		{"cache/tiered", module + "cache/memory", true},
		{"cache/memory", module + "cache", true},
		{"fcgi", module + "examples/programs", true},
		{"examples/internal/browser", module + "examples/programs", false},
		{"elsewhere", module + "proxy", true},
		{"proxy", "github.com/jlaffaye/ftp", true},
		{"ftpproxy", "github.com/jlaffaye/ftp", false},
	} {
		require.Equal(t, tc.bad, forbidden(tc.from, tc.to) != "", "%s -> %s", tc.from, tc.to)
	}
}
