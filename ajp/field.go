package ajp

import (
	"net/textproto"
	"strings"
)

// hasBlankOrControl reports whether s has bytes that a target must not have.
func hasBlankOrControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return true
		}
	}
	return false
}

// framesInDisguise reports whether name, which is not in canonical form, means
// a field that frames or routes the message to a container that ignores case.
func framesInDisguise(name string) bool {
	switch len(name) {
	case len("Host"):
		return strings.EqualFold(name, "Host")
	case len("Content-Length"):
		return strings.EqualFold(name, "Content-Length")
	case len("Transfer-Encoding"):
		return strings.EqualFold(name, "Transfer-Encoding")
	case len("Connection"):
		return strings.EqualFold(name, "Connection")
	}
	return false
}

// fields collects fields into a map whose single values share one array.
type fields struct {
	h      map[string][]string
	values []string
}

// newFields makes room for n fields. What the peer claims is not believed
// beyond some.
func newFields(n int) fields {
	n = min(n, 64)
	return fields{make(map[string][]string, n), make([]string, 0, n)}
}

func (f *fields) add(name, value string) {
	name = textproto.CanonicalMIMEHeaderKey(name)
	if have, ok := f.h[name]; ok {
		f.h[name] = append(have, value)
		return
	}
	f.values = append(f.values, value)
	n := len(f.values)
	f.h[name] = f.values[n-1 : n : n]
}
