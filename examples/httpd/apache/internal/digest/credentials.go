package digest

import "strings"

// Credentials are the parameters of an Authorization field of the Digest scheme.
type Credentials struct {
	Username, Realm, Nonce, URI, Response, Algorithm, CNonce, NC, QOP string
}

// maxField bounds the value of a field that is read, in bytes.
const maxField = 16 << 10

// Parse reads the value of a field. ok is false for another scheme, and for what is
// malformed, lacks a parameter or has one twice.
func Parse(value string) (c Credentials, ok bool) {
	scheme, rest, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Digest") || len(value) > maxField {
		return c, false
	}
	into := map[string]*string{
		"username": &c.Username, "realm": &c.Realm, "nonce": &c.Nonce, "uri": &c.URI, "response": &c.Response,
		"algorithm": &c.Algorithm, "cnonce": &c.CNonce, "nc": &c.NC, "qop": &c.QOP,
	}
	seen := make(map[string]bool)
	for rest = strings.TrimLeft(rest, " \t"); rest != ""; {
		name, after, found := strings.Cut(rest, "=")
		name = strings.ToLower(strings.Trim(name, " \t"))
		if !found || seen[name] || name == "" || strings.ContainsAny(name, `,"`) {
			return c, false
		}
		seen[name] = true
		text, tail, ok := parameter(strings.TrimLeft(after, " \t"))
		if !ok {
			return c, false
		}
		if to := into[name]; to != nil {
			*to = text
		}
		rest = tail
	}
	for _, name := range []string{"username", "realm", "nonce", "uri", "response"} {
		if !seen[name] {
			return c, false
		}
	}
	return c, true
}

// parameter reads a value, in quotes or not, and the comma behind it.
func parameter(s string) (text, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		text, rest, _ = strings.Cut(s, ",")
		text = strings.TrimRight(text, " \t")
		return text, strings.TrimLeft(rest, " \t"), text != "" && !strings.ContainsAny(text, "\" \t")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case c == '"':
			rest = strings.TrimLeft(s[i+1:], " \t")
			if rest == "" {
				return b.String(), "", true
			}
			rest, ok = strings.CutPrefix(rest, ",")
			return b.String(), strings.TrimLeft(rest, " \t"), ok
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}
