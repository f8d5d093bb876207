package rfc9111

import (
	"strings"
)

// acceptsCoding reports whether Accept-Encoding takes a content coding: RFC 9110
// section 12.5.3. A field that is not there is read as one that takes none.
func acceptsCoding(lines []string, coding string) bool {
	star := false
	for _, line := range lines {
		for one := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(one, ";")
			name = strings.Trim(name, " \t")
			switch {
			case strings.EqualFold(name, coding):
				return !zeroWeight(params)
			case name == "*":
				star = !zeroWeight(params)
			}
		}
	}
	return star
}

// zeroWeight reports whether the parameters of a member say q=0.
func zeroWeight(params string) bool {
	for params != "" {
		var one string
		one, params, _ = strings.Cut(params, ";")
		name, value, _ := strings.Cut(strings.Trim(one, " \t"), "=")
		if strings.EqualFold(name, "q") {
			return strings.Trim(value, "0.") == ""
		}
	}
	return false
}
