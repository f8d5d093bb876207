package conf

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// include reads the files that a name or pattern stands for, in order: all
// files of a folder and of those in it, or what a pattern fits. Relative names
// are looked for below ServerRoot.
func (p *parser) include(d *Directive, depth int) error {
	if len(d.Args) != 1 {
		p.problems.Add(d.Errorf("%s takes one name", d.Name))
		return nil
	}
	pattern := p.path(d)
	names := []string{pattern}
	if strings.ContainsAny(pattern, "*?[") {
		var err error
		if names, err = filepath.Glob(pattern); err != nil {
			p.problems.Add(d.Errorf("%s: %w", d.Args[0], err))
			return nil
		}
		names = slices.DeleteFunc(names, func(name string) bool { return hidden(pattern, name) })
		slices.Sort(names)
	} else if _, err := os.Stat(pattern); err != nil {
		names = nil
	}
	if len(names) == 0 && d.Is("Include") {
		p.problems.Add(d.Errorf("Include: no file %s", pattern))
		return nil
	}
	for _, name := range names {
		if err := p.includeName(d, name, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// includeName reads a file, or all that is in a folder.
func (p *parser) includeName(d *Directive, name string, depth int) error {
	if depth > maxDepth {
		return d.Errorf("files include each other too deeply")
	}
	if info, err := os.Stat(name); err != nil || !info.IsDir() {
		text, err := p.opt.readFile(name)
		if err != nil {
			p.problems.Add(d.Errorf("%s: %w", d.Name, err))
			return nil
		}
		return p.read(text, name, depth)
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		p.problems.Add(d.Errorf("%s: %w", d.Name, err))
		return nil
	}
	for _, e := range entries {
		if err := p.includeName(d, filepath.Join(name, e.Name()), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// hidden reports whether a name begins with a dot at a place where the pattern
// that fits it does not: as for a shell, "*" does not stand for such files.
func hidden(pattern, name string) bool {
	patterns, names := strings.Split(pattern, "/"), strings.Split(name, "/")
	for i := range min(len(patterns), len(names)) {
		if strings.HasPrefix(names[i], ".") && !strings.HasPrefix(patterns[i], ".") {
			return true
		}
	}
	return false
}

// path returns where the file is that a directive names.
func (p *parser) path(d *Directive) string {
	if name := d.Args[0]; filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.root, d.Args[0])
}
