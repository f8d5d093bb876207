package ftpproxy

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kind is what an entry of a directory is.
type kind int

const (
	kindFile kind = iota
	kindDirectory
	kindLink
	kindOther
)

var kindNames = [...]string{"file", "directory", "link", "other"}

// String is how JSON names it.
func (k kind) String() string { return kindNames[k] }

// entry is one line of a listing.
type entry struct {
	name     string
	kind     kind
	size     int64 // negative: not known
	modified time.Time
	target   string // of a link, as far as told
}

// usable reports whether an entry can be shown: what has no name of its own
// cannot.
func (e *entry) usable() bool {
	return e.name != "" && e.name != "." && e.name != ".." && !strings.Contains(e.name, "/")
}

// sortEntries puts directories first, and sorts by name.
func sortEntries(list []entry) {
	slices.SortFunc(list, func(a, b entry) int {
		if d := btoi(b.kind == kindDirectory) - btoi(a.kind == kindDirectory); d != 0 {
			return d
		}
		return cmp.Compare(a.name, b.name)
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// parseMLSD reads a line of MLSD (RFC 3659 section 7): "facts; name". The
// library's reading of it knows no links.
func parseMLSD(line string) (entry, bool) {
	facts, name, ok := strings.Cut(strings.TrimLeft(line, " "), " ")
	if !ok || facts != "" && !strings.HasSuffix(facts, ";") {
		return entry{}, false
	}
	if i := strings.LastIndexByte(name, '/'); i >= 0 { // it may be a whole path
		name = name[i+1:]
	}
	e := entry{name: name, kind: kindOther, size: -1}
	for fact := range strings.SplitSeq(facts, ";") {
		key, value, _ := strings.Cut(fact, "=")
		switch strings.ToLower(key) {
		case "type":
			switch lower := strings.ToLower(value); {
			case lower == "file":
				e.kind = kindFile
			case lower == "dir":
				e.kind = kindDirectory
			case lower == "cdir", lower == "pdir":
				return entry{}, false
			case strings.HasPrefix(lower, "os.unix=slink"), strings.HasPrefix(lower, "os.unix=symlink"):
				e.kind = kindLink
				_, e.target, _ = strings.Cut(value, ":")
			}
		case "size":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
				e.size = n
			}
		case "modify":
			if at, err := time.Parse("20060102150405", value); err == nil {
				e.modified = at
			}
		}
	}
	if e.kind != kindFile {
		e.size = -1
	}
	return e, e.usable()
}
