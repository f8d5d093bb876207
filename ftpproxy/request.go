package ftpproxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/modproxy/modproxy/proxy/exchange"
)

// maxPathBytes limits a decoded path: servers read commands of 4096 bytes, some
// of less.
const maxPathBytes = 3000

// target is what a URL names (RFC 1738 section 3.2.2, RFC 3986).
type target struct {
	dir   string // of the file, or to list: "" is the user's home; with a slash in front, where it says
	name  string // of the file; empty for a directory
	kind  byte   // of ";type=": 'a', 'i', 'd', or 0
	slash bool   // the path ends in a slash
}

// parseTarget reads the path of a URL: each segment is decoded on its own, and
// an encoded slash in front means the server's root. An error has status 400 or
// 414, and means that nothing may be sent.
func parseTarget(u *url.URL) (target, *exchange.Error) {
	path, kind, perr := cutType(strings.TrimPrefix(escapedPath(u), "/"))
	if perr != nil {
		return target{}, perr
	}
	t := target{kind: kind}
	var names []string
	rooted := false
	for first := true; ; first = false {
		segment, rest, more := strings.Cut(path, "/")
		name, err := url.PathUnescape(segment)
		if err != nil {
			return target{}, badRequest("malformed escape in the path")
		}
		if first && strings.HasPrefix(name, "/") {
			rooted, name = true, name[1:]
		}
		if perr := checkName(name); perr != nil {
			return target{}, perr
		}
		if name != "" {
			names = append(names, name)
		}
		if !more {
			t.slash = segment == ""
			if name != "" && kind != 'd' {
				t.name = name
				names = names[:len(names)-1]
			}
			break
		}
		path = rest
	}
	t.dir = strings.Join(names, "/")
	if rooted {
		t.dir = "/" + t.dir
	}
	if len(t.dir)+len(t.name) > maxPathBytes {
		return target{}, &exchange.Error{Op: exchange.OpRequest, Status: http.StatusRequestURITooLong, Err: errPathTooLong}
	}
	return t, nil
}

// checkName refuses what would be a command of its own, or lead elsewhere than
// the rules in front of us have seen.
func checkName(name string) *exchange.Error {
	switch {
	case hasControl(name):
		return badRequest("path has a control byte")
	case strings.Contains(name, "/"):
		return badRequest("path has an encoded slash, which may only stand in front")
	}
	for part := range strings.SplitSeq(name, `\`) { // which servers on Windows take for a slash
		if part == "." || part == ".." {
			return badRequest("path has a dot segment")
		}
	}
	return nil
}

// cutType takes ";type=" off the end of an escaped path.
func cutType(path string) (string, byte, *exchange.Error) {
	i := strings.LastIndexByte(path, ';')
	if i < 0 || strings.Contains(path[i:], "/") {
		return path, 0, nil
	}
	name, value, ok := strings.Cut(path[i+1:], "=")
	if !ok || !strings.EqualFold(name, "type") {
		return path, 0, nil
	}
	switch strings.ToLower(value) {
	case "a", "i", "d":
		return path[:i], value[0] | 0x20, nil
	}
	return "", 0, badRequest("type is a, i or d")
}

// escapedPath returns the path as it was written. url.URL.EscapedPath encodes
// all of it anew if it meets one byte that it would encode itself, and so turns
// "%2F" into a slash.
func escapedPath(u *url.URL) string {
	if u.RawPath != "" {
		if p, err := url.PathUnescape(u.RawPath); err == nil && p == u.Path {
			return u.RawPath
		}
	}
	return (&url.URL{Path: u.Path}).EscapedPath()
}

// file is the name for commands.
func (t target) file() string { return join(t.dir, t.name) }

// path is the name of the directory that would be there in place of a file.
func (t target) path() string {
	if t.name == "" {
		return t.dir
	}
	return t.file()
}

func join(dir, name string) string {
	if dir == "" || strings.HasSuffix(dir, "/") {
		return dir + name
	}
	return dir + "/" + name
}

func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// allows reports whether a method may be used on what the URL names.
func (t *Transport) allows(method string, at target) bool {
	switch method {
	case http.MethodGet, http.MethodHead, "":
		return true
	case http.MethodPut:
		return t.AllowPut && at.name != ""
	case http.MethodDelete:
		return t.AllowDelete && at.name != ""
	}
	return false
}

// escapedClientPath is the path by which the client knows what is served: links
// are relative to it.
func (x *attempt) escapedClientPath() string {
	u := x.r.URL
	if in := exchange.ClientRequest(x.ctx); in != nil {
		u = in.URL
	}
	path := escapedPath(u)
	if p, _, err := cutType(path); err == nil {
		path = p
	}
	return path
}

// lastSegment returns what follows the last slash of a path.
func lastSegment(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// Causes without more to say.
var (
	errPathTooLong = fmt.Errorf("path exceeds %d bytes", maxPathBytes)
	errSocket      = errors.New("FTP needs a TCP connection")
)

// badRequest is the error for a request of which nothing may be sent.
func badRequest(format string, args ...any) *exchange.Error {
	return &exchange.Error{Op: exchange.OpRequest, Status: http.StatusBadRequest, Err: fmt.Errorf(format, args...)}
}
