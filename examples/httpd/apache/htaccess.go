package apache

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/plainfile"
)

// maxOverride bounds a .htaccess file, in bytes.
const maxOverride = 1 << 20

// maxOverrides bounds how many .htaccess files a host remembers.
const maxOverrides = 1 << 12

// overrideClass is what AllowOverride may permit.
type overrideClass uint8

const (
	overrideAuth overrideClass = 1 << iota
	overrideInfo
	overrideIndexes
	overrideLimit
	overrideOptions
	overrideAll = overrideAuth | overrideInfo | overrideIndexes | overrideLimit | overrideOptions
)

// override is what AllowOverride permits in .htaccess.
type override struct {
	classes        overrideClass
	options        []string // of Options=…; nil for all
	ignores        bool     // Nonfatal=Override: what is not permitted is left out
	ignoresUnknown bool     // Nonfatal=Unknown
}

// permission is what may stand in the .htaccess of a folder: AllowOverride and
// AllowOverrideList, of which each has its own place.
type permission struct {
	by    *override // nil for nothing
	names *[]string // nil for none
}

// none reports whether nothing may stand there, so that the file is not looked for.
func (p permission) none() bool {
	return (p.by == nil || p.by.classes == 0) && len(said(p.names, nil)) == 0
}

// overrideDirectives are those that say which files in folders count.
func overrideDirectives() []directive {
	return []directive{
		{name: "AllowOverride", in: inSection, min: 1, max: -1, note: "counts in <Directory> without a regular expression, as in httpd", apply: applyAllowOverride},
		{name: "AllowOverrideList", in: inSection, min: 1, max: -1, note: "counts in <Directory> without a regular expression, as in httpd", apply: func(b *builder, s *scope, d *conf.Directive) error {
			if s.overridesNothing(b, d) {
				return nil
			}
			names := append(said(s.settings.files.overrideNames, nil), d.Args...)
			if len(d.Args) == 1 && strings.EqualFold(d.Args[0], "none") {
				names = nil
			}
			s.settings.files.overrideNames = &names
			return nil
		}},
		{name: "AccessFileName", in: anyServer, min: 1, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			for _, name := range d.Args {
				if strings.ContainsRune(name, '/') {
					return fmt.Errorf("%q is no name in a folder", name)
				}
			}
			s.settings.accessFiles = d.Args
			return nil
		}},
	}
}

// ownOverride returns what the section permits, to be changed.
func (s *scope) ownOverride() *override {
	if s.settings.files.override == nil {
		s.settings.files.override = new(override)
	}
	return s.settings.files.override
}

// overridesNothing reports, and tells, that a directive stands where it has no
// effect, in httpd neither.
func (s *scope) overridesNothing(b *builder, d *conf.Directive) bool {
	if s.folder && !s.regex {
		return false
	}
	if !strings.EqualFold(strings.Join(d.Args, " "), "none") {
		b.warn(d.Errorf("%s has no effect here: it counts in <Directory> without a regular expression alone", d.Name))
	}
	return true
}

func applyAllowOverride(b *builder, s *scope, d *conf.Directive) error {
	o := new(override)
	if !s.overridesNothing(b, d) {
		o = s.ownOverride()
	}
	o.classes, o.options = 0, nil
	for _, w := range d.Args {
		name, value, _ := strings.Cut(strings.ToLower(w), "=")
		class, ok := map[string]overrideClass{"none": 0, "all": overrideAll, "authconfig": overrideAuth, "fileinfo": overrideInfo,
			"indexes": overrideIndexes, "limit": overrideLimit, "options": overrideOptions}[name]
		switch {
		case name == "nonfatal":
			o.ignores = value == "override" || value == "all"
			o.ignoresUnknown = value == "unknown" || value == "all"
			if !o.ignores && !o.ignoresUnknown {
				return fmt.Errorf("%q is not known: Nonfatal=Override, Unknown or All", w)
			}
		case !ok:
			return fmt.Errorf("%q is not known", w)
		default:
			o.classes |= class
			if name == "options" && value != "" {
				o.options = []string{}
				for option := range strings.SplitSeq(value, ",") {
					if _, ok := folderOptions[option]; !ok {
						return fmt.Errorf("option %q is not known", option)
					}
					o.options = append(o.options, option)
				}
			}
		}
	}
	return nil
}

// overrideError is an error of a .htaccess file, and the status that it causes.
type overrideError struct {
	code int
	err  error
}

func (e *overrideError) Error() string { return e.err.Error() }

func (e *overrideError) Unwrap() error { return e.err }

// overrides remembers the .htaccess files of a host.
type overrides struct {
	mu   sync.Mutex // guards read
	seen map[overrideKey]*overrideFile
	last atomic.Int64 // number of sections, beyond those of the configuration
}

// overrideKey is a file, and what was permitted in it.
type overrideKey struct {
	name    string
	allowed permission
}

type overrideFile struct {
	info fs.FileInfo
	own  *scope
	err  error
}

// read returns what the .htaccess of a folder says, nil without one. The file is
// looked at each time, and read when it has changed.
func (o *overrides) read(h *host, dir string, allowed permission) (*scope, error) {
	if allowed.none() {
		return nil, nil
	}
	names := h.settings.accessFiles
	if names == nil {
		names = []string{".htaccess"}
	}
	for _, name := range names {
		name = filepath.Join(dir, name)
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err == nil && !info.Mode().IsRegular():
			err = plainfile.ErrNotRegular
		}
		if err != nil {
			return nil, &overrideError{http.StatusForbidden, fmt.Errorf("%s: %w", name, err)}
		}
		f := o.file(h, overrideKey{name, allowed}, info)
		return f.own, f.err
	}
	return nil, nil
}

// file returns the content of a file, out of memory if it has not changed.
func (o *overrides) file(h *host, key overrideKey, info fs.FileInfo) *overrideFile {
	o.mu.Lock()
	f := o.seen[key]
	o.mu.Unlock()
	if f != nil && os.SameFile(f.info, info) && f.info.Size() == info.Size() && f.info.ModTime().Equal(info.ModTime()) {
		return f
	}
	f = &overrideFile{info: info}
	if text, err := plainfile.Read(key.name, maxOverride); err != nil {
		f.err = &overrideError{http.StatusForbidden, err}
	} else if f.own, err = o.parse(h, key, text); err != nil {
		f.own, f.err = nil, &overrideError{http.StatusInternalServerError, err}
	}
	if time.Since(info.ModTime()) < time.Second {
		return f // it may change again, and keep its time
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil || len(o.seen) >= maxOverrides {
		o.seen = make(map[overrideKey]*overrideFile)
	}
	o.seen[key] = f
	return f
}

// parse reads the text of a file by the table of directives.
func (o *overrides) parse(h *host, key overrideKey, text []byte) (*scope, error) {
	known := table()
	modules := newModules(known)
	list, err := conf.Parse(bytes.NewReader(text), key.name, conf.Options{Override: true, HasModule: modules.has, Version: Version})
	if err != nil {
		return nil, err
	}
	b := &builder{table: known, modules: modules, opt: h.opt, main: h.scope, override: true, warn: func(err error) { h.logger.Warn(err.Error()) }}
	b.sections = int(o.last.Add(1<<16)) + 1<<30
	if list, err = b.permitted(list, key.allowed); err != nil {
		return nil, err
	}
	s := b.section(inDirectory, h.scope, &conf.Directive{Name: "htaccess", File: key.name})
	s.folder, s.path = true, filepath.Dir(key.name)
	return s, b.apply(s, list)
}

// permitted returns the directives that may stand in a .htaccess file.
func (b *builder) permitted(list []*conf.Directive, p permission) (out []*conf.Directive, err error) {
	allowed := said(p.by, override{})
	for _, d := range list {
		class, sections, known := classOf(d)
		if !known {
			if _, err := b.find(d); err != nil {
				if allowed.ignoresUnknown {
					b.warn(err)
					continue
				}
				return nil, err
			}
		}
		ok := known && (sections || allowed.classes&class != 0 || slices.ContainsFunc(said(p.names, nil), d.Is))
		if ok && d.Is("Options") && allowed.classes&overrideOptions != 0 && allowed.options != nil {
			for _, w := range d.Args {
				ok = ok && slices.Contains(allowed.options, strings.ToLower(strings.TrimLeft(w, "+-")))
			}
		}
		if !ok {
			err := d.Errorf("%s is not allowed here", d.Name)
			if known && allowed.ignores {
				b.warn(err)
				continue
			}
			return nil, err
		}
		if sections {
			inner := *d
			if inner.Children, err = b.permitted(d.Children, p); err != nil {
				return nil, err
			}
			d = &inner
		}
		out = append(out, d)
	}
	return out, nil
}

// classOf returns the class that a directive needs in .htaccess; sections hold
// others, which count.
func classOf(d *conf.Directive) (class overrideClass, sections, known bool) {
	if d.Section {
		switch strings.ToLower(d.Name) {
		case "files", "filesmatch", "if", "elseif", "else", "limit", "limitexcept":
			return 0, true, true
		case "requireall", "requireany", "requirenone":
			return overrideAuth, false, true
		}
		return 0, false, false
	}
	class, known = overrideClassOf(d.Name)
	return class, false, known
}
