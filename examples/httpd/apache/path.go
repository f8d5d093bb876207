package apache

import (
	"fmt"
	"net/url"
	"path"
	"strings"
)

func hasEncodedSlash(u *url.URL) bool {
	return u.RawPath != "" && (strings.Contains(u.RawPath, "%2F") || strings.Contains(u.RawPath, "%2f"))
}

// readPath returns the path that sections are compared with: decoded once,
// slashes merged, dots resolved, but an encoded slash left as "%2F". A path that
// climbs above "/", or has a NUL, is an error.
func readPath(u *url.URL) (string, error) {
	p := u.Path
	if p == "" && u.Opaque == "" {
		p = "/"
	}
	if hasEncodedSlash(u) {
		kept := strings.NewReplacer("%2F", "%252F", "%2f", "%252F").Replace(u.RawPath)
		var err error
		if p, err = url.PathUnescape(kept); err != nil {
			return "", err
		}
	}
	switch {
	case !strings.HasPrefix(p, "/"):
		return "", fmt.Errorf("path %q does not begin with a slash", p)
	case strings.IndexByte(p, 0) >= 0 || climbs(p):
		return "", fmt.Errorf("path %q leads nowhere", p)
	}
	return cleanPath(p), nil
}

// climbs reports whether the dot segments of a path lead above where it begins.
func climbs(p string) bool {
	if !strings.Contains(p, "/..") {
		return false
	}
	depth := 0
	for segment := range strings.SplitSeq(p, "/") {
		switch segment {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// readServletPath is readPath without the parameters (";name=value") of
// segments, as servlet containers read a path. An escaped semicolon is none.
func readServletPath(u *url.URL) (string, error) {
	segments := strings.Split(u.EscapedPath(), "/")
	for i := range segments {
		segments[i], _, _ = strings.Cut(segments[i], ";")
	}
	bare := &url.URL{RawPath: strings.Join(segments, "/")}
	var err error
	if bare.Path, err = url.PathUnescape(bare.RawPath); err != nil {
		return "", err
	}
	return readPath(bare)
}

// cleanPath resolves dots and merges slashes.
func cleanPath(p string) string {
	clean := path.Clean(p)
	if clean != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		clean += "/"
	}
	return clean
}
