package cgi

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Params are the variables of one request, in order.
type Params struct{ list []Param }

// Param is a variable. That of a request's field is kept under the name of the
// field, and gets its own only on the wire.
type Param struct {
	name  string
	Value string
	field bool
}

// NameLen returns the length of the name on the wire.
func (p *Param) NameLen() int {
	if p.field {
		return len("HTTP_") + len(p.name)
	}
	return len(p.name)
}

// AppendName appends the name as it is on the wire.
func (p *Param) AppendName(dst []byte) []byte {
	if p.field {
		return appendVariable(dst, p.name)
	}
	return append(dst, p.name...)
}

// is reports whether p is the variable of that name.
func (p *Param) is(name string) bool {
	if !p.field {
		return p.name == name
	}
	const prefix = "HTTP_"
	if len(name) != len(prefix)+len(p.name) || name[:len(prefix)] != prefix {
		return false
	}
	for i := range len(p.name) {
		if variableByte(p.name[i]) != name[len(prefix)+i] {
			return false
		}
	}
	return true
}

// variableByte is a byte of a field's name in the name of its variable.
func variableByte(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z':
		return c - ('a' - 'A')
	case c == '-':
		return '_'
	}
	return c
}

func (p *Params) index(name string) int {
	return slices.IndexFunc(p.list, func(v Param) bool { return v.is(name) })
}

// Get returns the value of a variable, or "".
func (p *Params) Get(name string) string {
	v, _ := p.Lookup(name)
	return v
}

// Lookup returns the value of a variable, and whether there is one.
func (p *Params) Lookup(name string) (string, bool) {
	if i := p.index(name); i >= 0 {
		return p.list[i].Value, true
	}
	return "", false
}

// Set gives a variable a value.
func (p *Params) Set(name, value string) {
	if i := p.index(name); i >= 0 {
		p.list[i].Value = value
		return
	}
	p.Add(name, value)
}

// SetAll is Set for each of vars. There may be a great many on both sides.
func (p *Params) SetAll(vars map[string]string) {
	if len(vars) == 0 {
		return
	}
	known := make(map[string]bool)
	var room []byte
	for i := range p.list {
		v := &p.list[i]
		room = v.AppendName(room[:0])
		if value, ok := vars[string(room)]; ok {
			v.Value, known[string(room)] = value, true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !known[name] {
			p.Add(name, vars[name])
		}
	}
}

// Delete removes a variable.
func (p *Params) Delete(name string) {
	if i := p.index(name); i >= 0 {
		p.list = slices.Delete(p.list, i, i+1)
	}
}

// All calls yield for each variable, in order, until it returns false.
func (p *Params) All(yield func(name, value string) bool) {
	for i := range p.list {
		v := &p.list[i]
		name := v.name
		if v.field {
			name = string(v.AppendName(nil))
		}
		if !yield(name, v.Value) {
			return
		}
	}
}

// Add is Set for a name that is not there yet.
func (p *Params) Add(name, value string) { p.list = append(p.list, Param{name: name, Value: value}) }

// AddSome is Add, unless there is no value.
func (p *Params) AddSome(name, value string) {
	if value != "" {
		p.Add(name, value)
	}
}

// Reset empties the list and lets go of what it held.
func (p *Params) Reset() {
	clear(p.list)
	p.list = p.list[:0]
}

// appendVariable appends the name of a field's variable, RFC 3875 section
// 4.1.18.
func appendVariable(dst []byte, field string) []byte {
	dst = append(dst, "HTTP_"...)
	for i := range len(field) {
		dst = append(dst, variableByte(field[i]))
	}
	return dst
}

// List returns the variables, which may not be kept.
func (p *Params) List() []Param { return p.list }

// addField is Add for the variable of a field.
func (p *Params) addField(name, value string) { p.list = append(p.list, Param{name, value, true}) }

// fields adds the variables of the request's fields. Left out are those that
// have a variable of their own or concern the connection, Proxy, which
// libraries take for the proxy to use, and names with an underscore or a dot,
// of which PHP makes one, or another such byte: they could pass for another
// field.
func (p *Params) fields(h http.Header, authorization bool) {
	for name, values := range h {
		if len(values) == 0 || !isPlain(name) {
			continue
		}
		switch name = http.CanonicalHeaderKey(name); name {
		case "Content-Type", "Content-Length", "Proxy", "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding",
			"Te", "Trailer", "Upgrade", "Proxy-Authorization", "Expect", "Host":
			continue
		case "Authorization":
			if !authorization {
				continue
			}
		case "User-Agent":
			if values[0] == "" { // how an http.Request says that there is none
				continue
			}
		}
		value := values[0]
		if len(values) > 1 {
			separator := ", "
			if name == "Cookie" {
				separator = "; "
			}
			value = strings.Join(values, separator)
		}
		p.addField(name, value)
	}
}

// isPlain reports whether a field's name has letters, digits and hyphens alone,
// as Apache wants it.
func isPlain(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-':
		default:
			return false
		}
	}
	return true
}
