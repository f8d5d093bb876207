package apache

import (
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/files"
)

// around looks at where a file is on disk and returns the sections that apply, in
// httpd's order: folder by folder those of <Directory> and its .htaccess, then
// <DirectoryMatch>, then <Files>. A code above 0 is an error.
func (h *host) around(v *visit) (list sectionList, code int) {
	options := h.settings.files.options
	var allowed permission
	next, named := 0, h.files // of h.folders the first that is deeper than those that were entered
	add := func(s *scope) {
		list = append(list, s)
		options = options.merge(s.settings.files.options)
		over(&allowed.by, s.settings.files.override)
		over(&allowed.names, s.settings.files.overrideNames)
		named = behind(named, s.files)
	}
	enter := func(dir string) (files.Links, error) {
		depth := folderDepth(dir)
		for ; next < len(h.folders) && h.folders[next].depth() <= depth; next++ {
			if f := h.folders[next]; f.depth() == depth && f.isFolder(dir) {
				add(f)
			}
		}
		own, err := h.overrides.read(h, dir, allowed)
		if own != nil {
			add(own)
		}
		return options.of(optFollow).links(), err
	}
	found, err := files.Find(v.found.file, enter)
	v.found.disk = found
	for ; next < len(h.folders); next++ {
		if f := h.folders[next]; f.regex && (f.pattern.MatchString(found.Name) || found.IsDir() && f.pattern.MatchString(found.Name+"/")) {
			add(f)
			f.name(v, found.Name)
		}
	}
	base := ""
	if !found.IsDir() {
		base = path.Base(found.Name)
	}
	for i := 0; i < len(named); i++ { // more may come
		if f := named[i]; f.isFile(base) {
			list = append(list, f)
			f.name(v, base)
			named = slices.Insert(slices.Clone(named), i+1, f.files...)
		}
	}
	var failed *overrideError
	switch {
	case errors.As(err, &failed):
		h.logger.Error("configuration of a folder is not usable", "path", v.path, "error", err)
		code = failed.code
	case err != nil:
		h.logger.Error("file may not be served", "path", v.path, "file", found.Name, "error", err)
		code = http.StatusForbidden
	}
	return list, code
}

// folderDepth is the number of segments of a clean path.
func folderDepth(dir string) int {
	if dir == "/" {
		return 0
	}
	return strings.Count(dir, "/")
}

// depth is that of the folders that a <Directory> is for; regular expressions are
// behind all of them.
func (s *scope) depth() int {
	if s.regex {
		return 1 << 30
	}
	return folderDepth(s.path)
}

// isFolder reports whether a <Directory> without a regular expression is that of a
// folder.
func (s *scope) isFolder(dir string) bool {
	if s.pattern != nil {
		return s.pattern.MatchString(dir)
	}
	return s.path == dir
}

// isFile reports whether a <Files> applies to the name of a file, which is empty
// for a folder.
func (s *scope) isFile(name string) bool {
	if s.pattern != nil {
		return s.pattern.MatchString(name)
	}
	return s.path == name
}
