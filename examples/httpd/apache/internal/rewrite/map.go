package rewrite

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/plainfile"
)

// maxMap is how large a file of a map may be.
const maxMap = 64 << 20

// Map is a RewriteMap. A nil one has nothing.
type Map struct {
	file   string
	random bool
	inner  func(string) string

	mu       sync.Mutex // guards the rest
	values   map[string]string
	size     int64
	modified time.Time
}

// ParseMap reads the second argument of a RewriteMap: "txt:file", "rnd:file", or
// "int:" with tolower, toupper, escape or unescape. open returns where a file is.
func ParseMap(source string, open func(name string) string) (*Map, error) {
	kind, rest, ok := strings.Cut(source, ":")
	if !ok {
		kind, rest = "txt", source
	}
	switch strings.ToLower(kind) {
	case "txt", "rnd":
		m := &Map{file: open(rest), random: strings.EqualFold(kind, "rnd")}
		return m, m.refresh()
	case "int":
		m := &Map{inner: map[string]func(string) string{
			"tolower": strings.ToLower, "toupper": strings.ToUpper, "escape": EscapePath, "unescape": unescape,
		}[strings.ToLower(rest)]}
		if m.inner == nil {
			return nil, fmt.Errorf("int:%s is not known: tolower, toupper, escape and unescape are", rest)
		}
		return m, nil
	case "prg":
		return nil, errors.New("prg: is not supported, for no programs are started: txt: with a file can do the same")
	case "dbm", "dbd", "fastdbd":
		return nil, fmt.Errorf("%s: is not supported: txt: with a file can do the same", kind)
	}
	return nil, fmt.Errorf("kind %q of map is not known: txt, rnd and int are", kind)
}

// Find returns what a key stands for.
func (m *Map) Find(key string) (string, bool) {
	if m == nil {
		return "", false
	}
	if m.inner != nil {
		return m.inner(key), true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.refresh() // a file that has gone leaves what it had
	value, ok := m.values[key]
	if ok && m.random {
		choices := strings.Split(value, "|")
		value = choices[rand.IntN(len(choices))]
	}
	return value, ok
}

// refresh reads the file if it has changed.
func (m *Map) refresh() error {
	info, err := os.Stat(m.file)
	if err != nil {
		return err
	}
	if m.values != nil && info.Size() == m.size && info.ModTime().Equal(m.modified) {
		return nil
	}
	if !info.Mode().IsRegular() || info.Size() > maxMap {
		return fmt.Errorf("%s is no file of up to %d bytes", m.file, maxMap)
	}
	f, err := plainfile.Open(m.file) // another file may stand there by now
	if err != nil {
		return err
	}
	defer f.Close()
	values := make(map[string]string)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' || line[0] == ' ' || line[0] == '\t' {
			continue
		}
		words := strings.Fields(line)
		if _, known := values[words[0]]; !known && len(words) > 1 {
			values[words[0]] = words[1]
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	m.values, m.size, m.modified = values, info.Size(), info.ModTime()
	return nil
}
