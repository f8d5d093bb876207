package files

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// Links says which symbolic links in a folder are followed.
type Links uint8

const (
	LinksNever   Links = iota // Options without a word on links
	LinksByOwner              // SymLinksIfOwnerMatch: whose target has the owner of the link
	LinksAlways               // FollowSymLinks
)

// Found is what a path leads to.
type Found struct {
	Name  string      // the file, the folder, or the first segment that is missing
	Info  fs.FileInfo // nil if it is missing
	Extra string      // the rest of the path behind a file or behind what is missing: PATH_INFO
	links bool        // a link was followed
}

// IsDir reports whether it is a folder.
func (f Found) IsDir() bool { return f.Info != nil && f.Info.IsDir() }

// IsFile reports whether it is a regular file.
func (f Found) IsFile() bool { return f.Info != nil && f.Info.Mode().IsRegular() }

// ErrForbidden is the error for what exists and may not be served: a link that
// is not permitted, what is neither a file nor a folder, what cannot be read.
var ErrForbidden = errors.New("not permitted")

// Find follows a path that is absolute and without dot segments, folder by
// folder. Each folder is entered before anything in it is looked at; what enter
// returns says which links in it count, and its error ends the search. The path
// below a file is Extra.
func Find(name string, enter func(dir string) (Links, error)) (Found, error) {
	links, err := enter("/")
	if err != nil {
		return Found{Name: "/"}, err
	}
	at, rest := "", strings.TrimLeft(name, "/")
	found := Found{Name: "/"}
	for rest != "" {
		segment, behind, _ := strings.Cut(rest, "/")
		more := rest[len(segment):] // with its slash
		at += "/" + segment
		info, err := os.Lstat(at)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			found.links = true
			info, err = follow(at, info, links)
		}
		found.Name, found.Info, found.Extra = at, info, more
		switch {
		case isMissing(err):
			found.Info = nil
			return found, nil
		case err != nil:
			found.Info = nil
			return found, errors.Join(ErrForbidden, err)
		case info.Mode().IsRegular():
			return found, nil
		case !info.IsDir():
			return found, ErrForbidden
		}
		if links, err = enter(at); err != nil {
			return found, err
		}
		rest = strings.TrimLeft(behind, "/")
		found.Extra = ""
	}
	if found.Info == nil {
		found.Info, err = os.Stat("/")
	}
	return found, err
}

// follow returns what a link leads to. As in httpd, a link to nowhere is forbidden.
func follow(name string, link fs.FileInfo, links Links) (fs.FileInfo, error) {
	if links == LinksNever {
		return nil, ErrForbidden
	}
	info, err := os.Stat(name)
	if err != nil || links == LinksByOwner && !sameOwner(link, info) {
		return nil, ErrForbidden
	}
	return info, nil
}

// isMissing reports whether an error says that there is no such file. A name
// that no file can have is one of these.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EINVAL)
}

// Open opens the file that was found, and no other: below root, which is a
// prefix of its name, it leaves that folder only by links that Find has seen and
// permitted.
func (f Found) Open(root string) (*os.File, error) {
	file, err := f.open(root)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !os.SameFile(info, f.Info) { // it was replaced, by what nobody has looked at
		err = &fs.PathError{Op: "open", Path: f.Name, Err: fs.ErrNotExist}
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// open opens what now has the name, and waits for nothing.
func (f Found) open(root string) (*os.File, error) {
	const flags = os.O_RDONLY | syscall.O_NONBLOCK
	inside, below := strings.CutPrefix(f.Name, strings.TrimSuffix(root, "/")+"/")
	if !below || inside == "" || f.links {
		return os.OpenFile(f.Name, flags, 0)
	}
	in, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return in.OpenFile(inside, flags, 0)
}
