package apache

import (
	"fmt"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/conf"
	"github.com/modproxy/modproxy/examples/httpd/apache/internal/files"
)

// fileSettings say what becomes of files and folders.
type fileSettings struct {
	options       flags[folderOption] // Options
	override      *override           // AllowOverride
	overrideNames *[]string           // AllowOverrideList

	index         []string // DirectoryIndex; an empty one is none, nil is not said
	indexRedirect *int     // DirectoryIndexRedirect: 0 for off
	slash         *bool    // DirectorySlash
	checkHandler  *bool    // DirectoryCheckHandler
	fallback      *string  // FallbackResource; "" for disabled
	pathInfo      *acceptPathInfo
	tag           flags[files.ETag] // FileETag

	ignore         []string // IndexIgnore
	header, readme string   // HeaderName, ReadmeName

	mime           files.Rules
	forceType      *string // ForceType; "" for None
	defaultCharset *string // AddDefaultCharset; "" for Off

	handler *string           // SetHandler; "" for None
	actions map[string]action // Action, by handler or media type
	expires expirySettings
}

func (s fileSettings) merge(inner fileSettings) fileSettings {
	s.options = s.options.merge(inner.options)
	over(&s.override, inner.override)
	over(&s.overrideNames, inner.overrideNames)
	if inner.index != nil {
		s.index = inner.index
	}
	over(&s.indexRedirect, inner.indexRedirect)
	over(&s.slash, inner.slash)
	over(&s.checkHandler, inner.checkHandler)
	over(&s.fallback, inner.fallback)
	over(&s.pathInfo, inner.pathInfo)
	s.tag = s.tag.merge(inner.tag)
	s.ignore = behind(s.ignore, inner.ignore)
	if inner.header != "" {
		s.header = inner.header
	}
	if inner.readme != "" {
		s.readme = inner.readme
	}
	s.mime = s.mime.Merge(inner.mime)
	over(&s.forceType, inner.forceType)
	over(&s.defaultCharset, inner.defaultCharset)
	over(&s.handler, inner.handler)
	if len(inner.actions) > 0 {
		all := make(map[string]action, len(s.actions)+len(inner.actions))
		for _, m := range []map[string]action{s.actions, inner.actions} {
			for name, a := range m {
				all[name] = a
			}
		}
		s.actions = all
	}
	s.expires = s.expires.merge(inner.expires)
	return s
}

// flags are a set that an inner section replaces, or changes by +word and -word.
type flags[T ~uint8] struct{ add, remove T }

func (f flags[T]) merge(inner flags[T]) flags[T] {
	return flags[T]{f.add&^inner.remove | inner.add, f.remove&^inner.add | inner.remove}
}

// of returns the set, out of what holds where nothing is said.
func (f flags[T]) of(otherwise T) T { return otherwise&^f.remove | f.add }

// read reads words such as "A B" or "+A -B" or, as httpd does, "All -B". All that a
// plain word brings is in sets.
func (f *flags[T]) read(words []string, sets map[string]T) error {
	plain := strings.IndexFunc(words[0], func(r rune) bool { return r == '+' || r == '-' }) != 0
	if plain {
		*f = flags[T]{remove: ^T(0)}
	}
	first := strings.ToLower(words[0])
	for i, w := range words {
		name := strings.TrimLeft(w, "+-")
		behindAll := i > 0 && (first == "all" || first == "none")
		if signed := name != w; signed == plain && !behindAll {
			return fmt.Errorf("words with + or - and words without do not mix: %q", strings.Join(words, " "))
		}
		set, ok := sets[strings.ToLower(name)]
		if !ok {
			return fmt.Errorf("%q is not known", w)
		}
		if w[0] == '-' {
			*f = f.merge(flags[T]{remove: set})
		} else {
			*f = f.merge(flags[T]{add: set})
		}
	}
	return nil
}

// folderOption is a word of Options.
type folderOption uint8

const (
	optIndexes folderOption = 1 << iota
	optFollow
	optFollowOwner
	optScripts
	optIncludes
	optViews
)

var folderOptions = map[string]folderOption{
	"none": 0, "all": ^optViews &^ optFollowOwner, "indexes": optIndexes, "followsymlinks": optFollow, "symlinksifownermatch": optFollowOwner,
	"execcgi": optScripts, "includes": optIncludes, "includesnoexec": optIncludes, "multiviews": optViews,
}

// links says which links options permit.
func (o folderOption) links() files.Links {
	switch {
	case o&optFollow != 0:
		return files.LinksAlways
	case o&optFollowOwner != 0:
		return files.LinksByOwner
	}
	return files.LinksNever
}

// acceptPathInfo is what AcceptPathInfo says.
type acceptPathInfo uint8

const (
	pathInfoDefault  acceptPathInfo = iota // of the handler: files take none, scripts do
	pathInfoAccepted                       // On
	pathInfoRefused                        // Off
)

// action is an Action: a path that is asked in place of a file.
type action struct {
	path    string
	virtual bool // whether there is such a file does not matter
}

// diskDirectives are all that concern what is on disk, and what answers for it.
func diskDirectives() []directive {
	return slices.Concat(fileDirectives(), mimeDirectives(), aliasDirectives(), handlerDirectives(), overrideDirectives(), expiresDirectives())
}

// fileDirectives are those of httpd's core, mod_dir, mod_autoindex and mod_actions
// that concern files.
func fileDirectives() []directive {
	list := []directive{
		{name: "DocumentRoot", in: anyServer, min: 1, max: 1, note: "without it, htdocs below ServerRoot", apply: func(b *builder, s *scope, d *conf.Directive) error {
			s.settings.documentRoot = cleanFolder(b.file(d.Args[0]))
			return nil
		}},
		{name: "Options", in: anywhere, min: 1, max: -1, note: "Indexes, FollowSymLinks and SymLinksIfOwnerMatch have an effect, and MultiViews where one file alone may be meant; nothing is run or included", apply: func(b *builder, s *scope, d *conf.Directive) error {
			return s.settings.files.options.read(d.Args, folderOptions)
		}},
		{name: "DirectoryIndex", in: anywhere, min: 1, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			if len(d.Args) == 1 && strings.EqualFold(d.Args[0], "disabled") {
				s.settings.files.index = []string{}
			} else {
				s.settings.files.index = append(s.settings.files.index, d.Args...)
			}
			return nil
		}},
		{name: "DirectoryIndexRedirect", in: anywhere, min: 1, max: 1, apply: applyIndexRedirect},
		{name: "DirectorySlash", in: anywhere, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.files.slash })},
		{name: "DirectoryCheckHandler", in: anywhere, min: 1, max: 1, apply: applySwitch(func(s *settings) **bool { return &s.files.checkHandler })},
		{name: "FallbackResource", in: anywhere, min: 1, max: 2, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			to := d.Args[0]
			if strings.EqualFold(to, "disabled") {
				to = ""
			} else if !strings.HasPrefix(to, "/") {
				return fmt.Errorf("%q is no path that begins with a slash", to)
			}
			s.settings.files.fallback = &to
			return nil
		}},
		{name: "AcceptPathInfo", in: anywhere, min: 1, max: 1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			what, ok := map[string]acceptPathInfo{"on": pathInfoAccepted, "off": pathInfoRefused, "default": pathInfoDefault}[strings.ToLower(d.Args[0])]
			if !ok {
				return fmt.Errorf("want On, Off or Default")
			}
			s.settings.files.pathInfo = &what
			return nil
		}},
		{name: "FileETag", in: anywhere, min: 1, max: -1, note: "a digest is not computed", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			return s.settings.files.tag.read(d.Args, map[string]files.ETag{"none": 0, "all": files.TagINode | files.TagMTime | files.TagSize,
				"inode": files.TagINode, "mtime": files.TagMTime, "size": files.TagSize})
		}},
		{name: "IndexIgnore", in: anywhere, min: 1, max: -1, apply: func(_ *builder, s *scope, d *conf.Directive) error {
			s.settings.files.ignore = append(s.settings.files.ignore, d.Args...)
			return nil
		}},
		{name: "HeaderName", in: anywhere, min: 1, max: 1, note: "a file of the folder itself", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			s.settings.files.header = d.Args[0]
			return nil
		}},
		{name: "ReadmeName", in: anywhere, min: 1, max: 1, note: "a file of the folder itself", apply: func(_ *builder, s *scope, d *conf.Directive) error {
			s.settings.files.readme = d.Args[0]
			return nil
		}},
		{name: "Action", in: anywhere, min: 2, max: 3, apply: func(b *builder, s *scope, d *conf.Directive) error {
			if len(d.Args) == 3 && !strings.EqualFold(d.Args[2], "virtual") {
				return fmt.Errorf("%q is not known: virtual is", d.Args[2])
			}
			if !strings.HasPrefix(d.Args[1], "/") {
				return fmt.Errorf("%q is no path that begins with a slash", d.Args[1])
			}
			if s.settings.files.actions == nil {
				s.settings.files.actions = make(map[string]action)
			}
			s.settings.files.actions[strings.ToLower(d.Args[0])] = action{d.Args[1], len(d.Args) == 3}
			if b.actions == nil {
				b.actions = make(map[string]bool)
			}
			b.actions[strings.ToLower(d.Args[0])] = true
			return nil
		}},
	}
	for _, name := range []string{"IndexOptions", "IndexOrderDefault", "IndexStyleSheet", "IndexHeadInsert", "IndexIgnoreReset", "AddIcon", "AddIconByType", "AddIconByEncoding",
		"AddAlt", "AddAltByType", "AddAltByEncoding", "AddDescription", "DefaultIcon"} {
		list = append(list, directive{name: name, in: anywhere, min: 1, max: -1, note: "the list of a folder has names and no icons"})
	}
	for _, name := range []string{"LanguagePriority", "ForceLanguagePriority", "CacheNegotiatedDocs", "MultiviewsMatch"} {
		list = append(list, directive{name: name, in: anywhere, min: 1, max: -1, note: "nothing is chosen among several files"})
	}
	return list
}

// cleanFolder returns a folder without a slash at its end, but "/".
func cleanFolder(name string) string {
	if clean := strings.TrimRight(name, "/"); clean != "" {
		return clean
	}
	return "/"
}

func applyIndexRedirect(_ *builder, s *scope, d *conf.Directive) error {
	code, ok := map[string]int{"on": 302, "off": 0, "temp": 302, "permanent": 301, "seeother": 303}[strings.ToLower(d.Args[0])]
	if !ok {
		if _, err := fmt.Sscan(d.Args[0], &code); err != nil || code < 300 || code > 399 {
			return fmt.Errorf("%q is no redirect: on, off, temp, permanent, seeother or a code from 300 to 399", d.Args[0])
		}
	}
	s.settings.files.indexRedirect = &code
	return nil
}
