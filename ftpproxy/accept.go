package ftpproxy

import (
	"strconv"
	"strings"
)

// prefersJSON reports whether the client names application/json, and likes it
// no less than text/html (RFC 9110 section 12.5.1). A wildcard does not name
// it: browsers get a page.
func prefersJSON(accept []string) bool {
	var asJSON, asHTML float64
	named := false
	for _, field := range accept {
		for element := range strings.SplitSeq(field, ",") {
			media, params, _ := strings.Cut(element, ";")
			switch strings.ToLower(strings.Trim(media, " \t")) {
			case "application/json":
				asJSON, named = quality(params), true
			case "text/html":
				asHTML = quality(params)
			}
		}
	}
	return named && asJSON > 0 && asJSON >= asHTML
}

// quality returns the weight among parameters; 1 without one, 0 for one that is
// malformed.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.Trim(p, " \t"), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(value, 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
