package apache

import (
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
)

// groupFile is the file of AuthGroupFile: lines "group: user user". A change of it
// counts a second later at the latest.
type groupFile struct {
	name string

	mu     sync.Mutex // guards the rest
	looked time.Time
	seen   os.FileInfo
	users  map[string][]string // by the group
	err    error
}

// groupFile returns the file of that name, of which there is one for all sections.
// If it cannot be read, nobody is in a group, as in httpd; a warning says so.
func (b *builder) groupFile(d *conf.Directive, name string) *groupFile {
	g := b.groups[name]
	if g == nil {
		if b.groups == nil {
			b.groups = make(map[string]*groupFile)
		}
		g = &groupFile{name: name}
		b.groups[name] = g
	}
	if g.look(); g.err != nil {
		b.warn(d.Errorf("AuthGroupFile: nobody is in a group: %w", g.err))
	}
	return g
}

// look reads the file if it is not the one that was seen.
func (g *groupFile) look() {
	g.looked = time.Now()
	now, err := os.Stat(g.name)
	if err == nil && g.err == nil && g.seen != nil && os.SameFile(now, g.seen) && now.ModTime().Equal(g.seen.ModTime()) && now.Size() == g.seen.Size() {
		return
	}
	g.seen, g.users, g.err = now, nil, err
	if err != nil {
		return
	}
	text, err := readFile(g.name)
	if g.err = err; err != nil {
		return
	}
	g.users = make(map[string][]string)
	for line := range strings.SplitSeq(string(text), "\n") {
		line = strings.TrimSpace(line)
		if group, users, ok := strings.Cut(line, ":"); ok && group != "" && line[0] != '#' {
			g.users[group] = append(g.users[group], strings.Fields(users)...)
		}
	}
}

// has reports whether a user is in a group. Without a file, nobody is.
func (g *groupFile) has(group, user string) bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.looked) >= time.Second {
		g.look()
	}
	return slices.Contains(g.users[group], user)
}
