package apache

import (
	"net/http"
	"slices"
	"strings"

	"github.com/modproxy/modproxy/examples/httpd/apache/internal/expr"
)

// depends notes fields of the request that have decided something: they belong into
// Vary. As in httpd, Host does not.
func (v *visit) depends(fields ...string) {
	for _, f := range fields {
		if !strings.EqualFold(f, "Host") && !slices.ContainsFunc(v.vary, func(have string) bool { return strings.EqualFold(have, f) }) {
			v.vary = append(v.vary, f)
		}
	}
}

// deciding is lookup for an expression that decides something: which fields it asks
// for is noted.
func (v *visit) deciding(r *http.Request) expr.Lookup {
	look := v.lookup(r)
	return func(function, name string) string {
		switch function {
		case "http", "req":
			v.depends(name)
		case "":
			if field, ok := strings.CutPrefix(strings.ToUpper(name), "HTTP_"); ok && requestVariables["HTTP_"+field] != nil {
				v.depends(http.CanonicalHeaderKey(strings.ReplaceAll(strings.ToLower(field), "_", "-")))
			}
		}
		return look(function, name)
	}
}

// addVary adds fields to the Vary of an answer that does not have them.
func addVary(h http.Header, fields []string) {
	have := fieldTokens(h["Vary"])
	for _, f := range fields {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.EqualFold(h, f) }) {
			h["Vary"] = joined(h["Vary"], f)
		}
	}
}
