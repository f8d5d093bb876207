package rewrite

import (
	"strings"
	"time"
)

// addCookie makes a Set-Cookie of a CO flag: name:value:domain, and then, if they
// are there, :lifetime:path:secure:httponly:samesite. A semicolon at the beginning
// takes the place of the colons.
func (s *State) addCookie(text string) {
	sep := ":"
	if rest, ok := strings.CutPrefix(text, ";"); ok {
		sep, text = ";", rest
	}
	parts := strings.Split(text, sep)
	if len(parts) < 3 {
		return // as in httpd
	}
	part := func(i int) string {
		if i < len(parts) {
			return parts[i]
		}
		return ""
	}
	for _, c := range s.result.Cookies {
		if strings.HasPrefix(c, parts[0]+"=") {
			return
		}
	}
	var b strings.Builder
	b.WriteString(parts[0] + "=" + parts[1] + "; path=")
	if path := part(4); path != "" {
		b.WriteString(path)
	} else {
		b.WriteString("/")
	}
	if domain := parts[2]; domain != "" && !strings.EqualFold(domain, "invalid") {
		b.WriteString("; domain=" + domain)
	}
	if lifetime := part(3); lifetime != "" {
		if minutes := atoi(lifetime); minutes != 0 {
			b.WriteString("; expires=" + time.Now().Add(time.Duration(minutes)*time.Minute).UTC().Format("Mon, 02-Jan-2006 15:04:05 GMT"))
		}
	}
	if isOn(part(5), "secure") {
		b.WriteString("; secure")
	}
	if isOn(part(6), "HttpOnly") {
		b.WriteString("; HttpOnly")
	}
	if same := part(7); same != "" && same != "0" && !strings.EqualFold(same, "false") {
		b.WriteString("; SameSite=" + same)
	}
	s.result.Cookies = append(s.result.Cookies, b.String())
}

func isOn(s, name string) bool {
	return s == "1" || strings.EqualFold(s, "true") || strings.EqualFold(s, name)
}
