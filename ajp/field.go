package ajp

import (
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
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

// fields reads n fields, whose names may be codes for those in names.
func (d *decoder) fields(n int, names []string) (http.Header, error) {
	if n > len(d.s)/3 { // none is shorter
		return nil, errShort
	}
	f := newFields(n)
	for range n {
		name := d.name(names)
		value, _ := d.string()
		switch {
		case d.err != nil:
			return nil, d.err
		case !httpguts.ValidHeaderFieldName(name):
			return nil, malformed("field name is no token")
		case !httpguts.ValidHeaderFieldValue(value):
			return nil, malformed("value of a field has control bytes")
		}
		f.add(name, strings.Trim(value, " \t"))
	}
	return f.h, nil
}
